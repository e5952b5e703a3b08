"""Tables and transcripts that may be wrong."""

import pytest

from speechlm.data import checked_lines, sorting
from speechlm.data.validate import CheckedTables, transcript_problem


def kinds(report):
    return {item.utterance: item.kind for item in report.items}


def edit(source, name, change):
    path = source[0] / name
    lines = path.read_text().splitlines()
    path.write_bytes(change(lines).encode() if isinstance(change(lines), str) else change(lines))


@pytest.mark.parametrize(
    ("transcript", "kind"),
    [
        ("HELLO IT'S ME", None),
        ("ROCK 'N' ROLL", None),
        ("", "empty transcript"),
        ("ROOM 101", "non-speech characters"),
        ("CAFÉ", "non-speech characters"),
        ("HELLO, YOU", "non-speech characters"),
        ("<NOISE> HI", "non-speech characters"),
        ("A ' B", "non-speech characters"),
        ("A\u200bB", "non-speech characters"),
    ],
)
def test_transcripts(transcript, kind):
    problem = transcript_problem(transcript)
    assert (problem and problem[0]) == kind


def test_characters_are_named():
    assert transcript_problem("CAFÉ 4")[1].startswith("4 É")
    assert "U+200B" in transcript_problem("A\u200bB")[1]


def test_wrong_transcripts_are_left_out(source, helpers):
    ids = source[1]
    edit(
        source,
        "text",
        lambda old: "\n".join(
            [f"{ids[0]} R2D2", ids[1], old[2].lower(), *old[4:], f"{ids[9]}9 NOBODY SAID THIS", ""]
        ),
    )
    data, report = helpers.checked(source[0])
    assert kinds(report) == {
        ids[0]: "non-speech characters",
        ids[1]: "empty transcript",
        ids[2]: "lower case",
        ids[3]: "no transcript",
        f"{ids[9]}9": "transcript without audio",
    }
    assert data.ids == [ids[2], *ids[4:]]
    assert data.text[ids[2]] == "HELLO IT'S NUMBER C"


def test_unsorted_duplicate_and_repeated_lines(source, helpers):
    ids = source[1]
    edit(
        source,
        "wav.scp",
        lambda old: "\n".join([*reversed(old), old[0], f"{ids[1]} another.flac", "", ""]),
    )
    data, report = helpers.checked(source[0])
    assert data.ids == [ids[0], *ids[2:]]
    assert kinds(report) == {ids[0]: "repeated line", ids[1]: "duplicate id", "wav.scp": "table"}
    assert report.counts()["fixed", "blank line"] == 1
    assert report.counts()["sorted", "table"] == 1


def test_dos_tables_with_byte_order_marks(source, helpers):
    edit(source, "text", lambda old: b"\xef\xbb\xbf" + "\r\n".join([*old, ""]).encode())
    data, report = helpers.checked(source[0])
    assert len(data) == 10
    assert data.text[source[1][0]] == "HELLO IT'S NUMBER A"
    assert report.counts() == {("fixed", "byte order mark"): 1, ("fixed", "CR LF line ends"): 1}


def test_bytes_that_are_no_text(source, helpers):
    edit(
        source,
        "text",
        lambda old: b"".join(
            f"{u} CAF\u00c9\n".encode("latin-1") if u == source[1][0] else f"{u} OK\n".encode()
            for u in source[1]
        ),
    )
    data, report = helpers.checked(source[0])
    assert source[1][0] not in data.wav
    assert len(data) == 9
    assert kinds(report)[source[1][0]] in ("not UTF-8 text", "no transcript")


def test_ids_and_speakers(source, helpers):
    ids = source[1]
    edit(source, "utt2spk", lambda old: "\n".join([f"{ids[0]} zoe", *old[2:], "nobody n", ""]))
    edit(
        source, "wav.scp", lambda old: "\n".join([*old, "7-../../../etc/x /a.flac", "7-empty", ""])
    )
    data, report = helpers.checked(source[0])
    assert kinds(report)[ids[0]] == "speaker not a prefix"
    assert kinds(report)[ids[1]] == "no speaker"
    assert kinds(report)["nobody"] == "speaker without audio"
    assert ("left out", "bad id") in report.counts()
    assert "7-../../../etc/x" not in data.wav
    assert "7-empty" not in data.wav
    assert data.ids == ids[2:]


@pytest.mark.parametrize("letter", ["x", "\u00e4"])
def test_ids_that_no_file_can_be_named_by(source, letter, helpers):
    long = "7-" + letter * 240
    edit(source, "wav.scp", lambda old: "\n".join([*old, f"{long} /a.wav", ""]))
    edit(source, "utt2spk", lambda old: "\n".join([*old, f"{long} 7", ""]))
    edit(source, "text", lambda old: "\n".join([*old, f"{long} YES", ""]))
    data, report = helpers.checked(source[0])
    assert data.ids == source[1] and kinds(report)[long] == "bad id"


def test_commands_in_wav_scp(source, helpers):
    edit(
        source, "wav.scp", lambda old: "\n".join([f"{source[1][0]} sph2pipe x.sph |", *old[1:], ""])
    )
    with pytest.raises(ValueError, match="plain path expected"):
        helpers.checked(source[0])


def test_missing_tables(source, helpers):
    (source[0] / "utt2spk").unlink()
    with pytest.raises(ValueError, match="utt2spk expected, but it is not there"):
        helpers.checked(source[0])


def test_sentences_have_single_blanks(source, helpers):
    """Other programs take a carriage return within a sentence for the end of its line."""
    ids = source[1]
    sentences = {ids[0]: "Ja,\r das ist  es.", ids[1]: "\u2028Nein\x0b!"}
    lines = (f"{utterance} {sentences.get(utterance, 'Gut.')}\n" for utterance in ids)
    (source[0] / "text.de").write_text("".join(lines), encoding="utf-8", newline="")
    data, _ = helpers.checked(source[0])
    assert [data.translations["de"][u] for u in ids[:3]] == ["Ja, das ist es.", "Nein !", "Gut."]


@pytest.mark.parametrize("name", ["wav.scp", "utt2spk", "text", "segments"])
def test_tables_that_are_one_line_for_us_or_damaged(tmp_path, name, helpers):
    tables = {"wav.scp": "s-1 a.wav\ns-2 b.wav\n", "utt2spk": "s-1 s\ns-2 s\n"}
    tables |= {"text": "s-1 A\ns-2 B\n", "segments": "s-1 s-1 0 1\ns-2 s-2 0 1\n"}
    for table, lines in tables.items():
        (tmp_path / table).write_text(lines)
    assert len(helpers.checked(tmp_path)[0]) == 2
    (tmp_path / name).write_text(tables[name].replace("\n", "\r"))
    with pytest.raises(ValueError, match=rf"{name}: its lines end in carriage returns alone"):
        helpers.checked(tmp_path)
    (tmp_path / name).write_text(tables[name] + "\0" * 100)  # the end was never written
    with pytest.raises(ValueError, match=rf"{name}:3: damaged: it has bytes of zero"):
        helpers.checked(tmp_path)


@pytest.mark.parametrize("held", [1, 1 << 25])
def test_tables_without_order_are_sorted_on_disk(source, helpers, monkeypatch, held):
    """The same is found, and the same said of each utterance, in whatever order the lines are."""
    monkeypatch.setattr(sorting, "_HELD", held)
    ids = source[1]
    edit(source, "text", lambda old: "\n".join([*old[:3], f"{ids[3]} 4", *old[5:], ""]))
    edit(source, "utt2spk", lambda old: "\n".join([*old[:6], *old[7:], "x-1 x", ""]))
    data, report = helpers.checked(source[0])
    for name in ("wav.scp", "text", "utt2spk"):
        edit(source, name, lambda old: "\n".join([*old[::-1], old[2], ""]))
    again, more = helpers.checked(source[0])
    assert again == data and set(report.items) < set(more.items)
    added = [(i.kind, i.utterance) for i in more.items if i not in report.items]
    tables = ("wav.scp", "utt2spk", "text")
    assert sorted(added) == sorted([("table", t) for t in tables] + 3 * [("repeated line", ids[2])])


def test_an_id_with_a_line_that_is_no_text_is_wrong_whatever_its_other_line_says(source, helpers):
    ids = source[1]
    edit(
        source,
        "text",
        lambda old: "\n".join([*old, ""]).encode() + f"{ids[4]} CAF\u00c9\n".encode("latin-1"),
    )
    data, report = helpers.checked(source[0])
    assert data.ids == [u for u in ids if u != ids[4]]
    assert kinds(report) == {ids[4]: "not UTF-8 text"}


def test_a_table_that_changes_while_it_is_read(source, monkeypatch):
    lines = CheckedTables(source[0], source[0])
    plain = checked_lines._is_right
    monkeypatch.setattr(checked_lines, "_is_right", lambda *a: plain(*a) and spoil(source[0]))

    def spoil(folder):
        path = folder / "text"
        path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
        return True

    with pytest.raises(ValueError, match="text changed while it was read; start again"):
        list(lines)
