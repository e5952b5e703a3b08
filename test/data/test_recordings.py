"""Folders of recordings with a table of transcripts, intact and damaged."""

import pytest

from speechlm.data.kaldi_dir import DataDir
from speechlm.data.recordings import lone_names, read_recordings


@pytest.fixture
def corpus(tmp_path):
    """Three recordings of two speakers in train, one in more."""
    for part, names in (("train", ("anna-1", "anna-2", "bob-7")), ("more", ("carl-1",))):
        (tmp_path / part).mkdir()
        for name in names:
            (tmp_path / part / f"{name}.wav").touch()
        lines = "".join(f"{name} It's Dr. Smith, no. {len(name)}!\n" for name in names)
        (tmp_path / part / "text").write_text(lines)
    return tmp_path


def test_parts_are_read_as_one(corpus):
    (corpus / "train" / "bob-7.wav").rename(corpus / "train" / "bob-7.MP3")
    data, report = read_recordings(corpus, ["train", "more"])
    assert data.ids == ["anna-1", "anna-2", "bob-7", "carl-1"] and not report.items
    assert data.wav["bob-7"] == str(corpus / "train" / "bob-7.MP3")
    assert data.spk2utt["anna"] == ["anna-1", "anna-2"] and not lone_names(data)
    assert data.text["anna-1"].startswith("IT'S DOCTOR SMITH") and "SIX" in data.text["anna-1"]


def test_speech_alone_needs_no_table(corpus):
    (corpus / "train" / "text").unlink()
    data, _ = read_recordings(corpus, ["train"], with_text=False)
    assert len(data) == 3 and data.text is None
    with pytest.raises(ValueError, match=r"train/text, which is not there: on each line"):
        read_recordings(corpus, ["train"])


def test_what_is_wrong_is_left_out(corpus):
    train = corpus / "train"
    for name in ("anna-3.wav", "anna-1.flac", "eve 1.wav", "notes.doc", ".hidden.wav", "bob-8.wav"):
        (train / name).touch()
    with (train / "text").open("a") as table:
        table.write("bob-8 ...\nbob-9 NOBODY\n")
    data, report = read_recordings(corpus, ["train"])
    assert data.ids == ["anna-1", "anna-2", "bob-7"]
    assert {(i.what, i.kind, i.utterance) for i in report.items} == {
        ("left out", "no transcript", "anna-3"),
        ("left out", "duplicate id", "anna-1"),
        ("fixed", "name that is no id", "eve%201"),
        ("left out", "no transcript", "eve%201"),
        ("noted", "no recording", "notes.doc"),
        ("left out", "empty transcript", "bob-8"),
        ("left out", "transcript without audio", "bob-9"),
    }


def test_other_audio_formats_count_as_wrong(corpus):
    """Else most of a corpus could be lost, and no share of wrong ones would tell."""
    for n in range(9):
        (corpus / "train" / f"dora-{n}.M4A").touch()
    (corpus / "train" / "readme.txt").touch()
    data, report = read_recordings(corpus, ["train"], with_text=False)
    assert len(data) == 3
    assert report.counts() == {("left out", "other audio format"): 9, ("noted", "no recording"): 1}
    with pytest.raises(ValueError, match="9 of 12 utterances are wrong"):
        report.check_share(len(data), 0.7, "train")


def test_names_that_are_no_ids(corpus):
    train = corpus / "train"
    names = ["eve 1", "eve  two", "eve", "e\u0301t\u00e9-1", "a%20b", "x" * 200 + "-1"]
    for name in names:
        (train / f"{name}.wav").touch()
    lines = [
        "eve 1 FIRST",
        "eve  two\tSECOND",
        "eve THIRD",
        "\u00e9t\u00e9-1 FOURTH",
        "a%20b FIFTH",
    ]
    with (train / "text").open("a", encoding="utf-8") as table:
        table.write("".join(f"{line}\n" for line in [*lines, f"{names[-1]} LAST"]))
    data, report = read_recordings(corpus, ["train"])
    assert not report.ids_left_out()
    expected = {"eve%201": "FIRST", "eve%20%20two": "SECOND", "eve": "THIRD"}
    expected |= {"\u00e9t\u00e9-1": "FOURTH", "a%20b": "FIFTH"}
    assert expected.items() < data.text.items() and "LAST" in data.text.values()
    data.write(corpus / "data")
    assert DataDir.read(corpus / "data") == data
    fixed = {i.utterance: i.detail for i in report.items if i.kind == "name that is no id"}
    assert len(fixed) == 4 and fixed["eve%201"] == "the name is 'eve 1'"


def test_an_utterance_with_a_blank_counts_once(corpus):
    (corpus / "train" / "eve 1.wav").touch()
    with (corpus / "train" / "text").open("a") as table:
        table.write("eve 1 ...\n")
    data, report = read_recordings(corpus, ["train"])
    assert len(data) == 3 and report.ids_left_out() == {"eve%201"}


def test_paths_that_tables_cannot_hold_are_left_out(corpus):
    (corpus / "train" / "eve\n1.wav").touch()
    with (corpus / "train" / "text").open("a") as table:
        table.write("eve 1 HELLO\n")
    data, report = read_recordings(corpus, ["train"], with_text=False)
    assert len(data) == 3
    assert [(i.kind, i.utterance) for i in report.items] == [("bad path", "eve%0A1")]


def test_what_systems_leave_in_folders_is_no_part_of_a_corpus(corpus):
    for name in ("Thumbs.db", "desktop.ini", "._anna-1.wav", ".nfs0001", ".DS_Store"):
        (corpus / "train" / name).touch()
    (corpus / "__MACOSX").mkdir()
    data, report = read_recordings(corpus, ["train"])
    assert len(data) == 3 and not report.items
    with pytest.raises(ValueError, match="it has: more train$"):
        read_recordings(corpus, ["none"])


def test_tables_in_another_order_are_no_damage(corpus):
    table = corpus / "train" / "text"
    table.write_text("".join(f"{line}\n" for line in reversed(table.read_text().splitlines())))
    data, report = read_recordings(corpus, ["train", "more"])
    assert data.ids == ["anna-1", "anna-2", "bob-7", "carl-1"]
    assert report.summary() == "sorted: 1 table of transcripts"


def test_letters_of_other_scripts_are_left_out(corpus):
    with (corpus / "train" / "text").open("w", encoding="utf-8") as table:
        table.write("anna-1 你好\nanna-2 Ça va, naïve café 2?\nbob-7 Привет you\n")
    data, report = read_recordings(corpus, ["train"])
    assert data.text == {"anna-2": "CA VA NAIVE CAFE TWO"}
    items = [(i.kind, i.utterance, i.detail) for i in report.items]
    assert items == [
        ("letters other than A-Z", "anna-1", "你好"),
        ("letters other than A-Z", "bob-7", "Привет you"),
    ]
    with pytest.raises(ValueError, match=r"2 of 3 utterances are wrong.*letters other than A-Z"):
        report.check_share(len(data), 0.1, "train")


def test_a_line_of_another_encoding_is_left_out_alone(corpus):
    table = corpus / "train" / "text"
    table.write_bytes("anna-1 HELLO\nanna-2 CAFÉ\nbob-7 YOU\n".encode("latin-1"))
    data, report = read_recordings(corpus, ["train"])
    assert data.text == {"anna-1": "HELLO", "bob-7": "YOU"}
    assert [(i.kind, i.utterance, i.path, i.detail) for i in report.items] == [
        ("not UTF-8 text", "anna-2", str(table), "line 2")
    ]


def test_ids_of_both_sides_are_shown_where_they_differ(corpus):
    table = corpus / "train" / "text"
    table.write_text("anna-1.wav ONE\nanna-2.wav TWO\nbob-7.wav SEVEN\n")
    message = "ids of recordings: anna-1 .*; ids of transcripts: anna-1.wav "
    with pytest.raises(ValueError, match=message):
        read_recordings(corpus, ["train"])
    data, report = read_recordings(corpus, ["train", "more"])
    with pytest.raises(ValueError, match=r"6 of 7 .*\n  anna-1 .*\n  anna-1.wav .*\n  anna-2 "):
        report.check_share(len(data), 0.1, "train")


def test_names_without_speakers_are_mentioned(corpus):
    (corpus / "train" / "anna-1.wav").rename(corpus / "train" / "x.wav")
    data, _ = read_recordings(corpus, ["train"], with_text=False)
    assert data.utt2spk["x"] == "x"
    assert "1 of 3 recordings have names without SPEAKER-" in lone_names(data)
    assert lone_names(data).endswith(": x")


def test_what_is_not_there_is_named(corpus):
    with pytest.raises(ValueError, match=r"no part trian in .*; it has: more train"):
        read_recordings(corpus, ["trian"])
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        read_recordings(corpus / "nowhere", ["train"])
    with pytest.raises(ValueError, match="a list of different parts expected, got train train"):
        read_recordings(corpus, ["train", "train"])
    (corpus / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no recordings in .*/empty: files like SPEAKER-NAME.wav"):
        read_recordings(corpus, ["empty"], with_text=False)
    (corpus / "more" / "text").write_text("carl-2 HELLO\n")
    with pytest.raises(ValueError, match="no recording in .*/more has a transcript"):
        read_recordings(corpus, ["more"])
