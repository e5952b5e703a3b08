"""LibriSpeech's layout, intact and damaged."""

import pytest

from speechlm.data.librispeech import read_librispeech, read_speakers, unlisted_speakers


def test_any_list_of_parts(tmp_path, helpers):
    one = helpers.write_corpus(tmp_path / "My Corpus", "train-a")
    two = helpers.write_corpus(tmp_path / "My Corpus", "b", speakers=("9",), n=2)
    data, report = read_librispeech(tmp_path / "My Corpus", ["train-a", "b"])
    assert data.ids == sorted(one + two)
    assert report.items == []
    assert data.text["9-100-0001"] == "HELLO IT'S NUMBER B"
    assert data.wav["9-100-0001"].endswith("/My Corpus/b/9/100/9-100-0001.flac")
    assert data.utt2spk["12-100-0002"] == "12"
    assert read_librispeech(tmp_path / "My Corpus", ["b"])[0].ids == two


def test_wrong_parts(tmp_path, helpers):
    helpers.write_corpus(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no part trian in .*; it has: empty train"):
        read_librispeech(tmp_path, ["trian"])
    with pytest.raises(ValueError, match="no utterances in .*empty.*0000.flac expected"):
        read_librispeech(tmp_path, ["empty"])
    with pytest.raises(ValueError, match="list of different parts"):
        read_librispeech(tmp_path, ["train", "train"])
    with pytest.raises(ValueError, match="is not a folder"):
        read_librispeech(tmp_path / "absent", ["train"])


def test_missing_and_extra_transcripts(tmp_path, helpers):
    helpers.write_corpus(tmp_path)
    folder = tmp_path / "train" / "7" / "100"
    lines = (folder / "7-100.trans.txt").read_text().splitlines()
    (folder / "7-100.trans.txt").write_text("\n".join([*lines[1:], "7-100-0009 GHOST"]))
    data, report = read_librispeech(tmp_path, ["train"])
    assert "7-100-0000" not in data.wav
    assert len(data) == 5
    found = {(i.kind, i.utterance) for i in report.items}
    assert found == {("no transcript", "7-100-0000"), ("transcript without audio", "7-100-0009")}


def test_dos_files_and_byte_order_marks(tmp_path, helpers):
    helpers.write_corpus(tmp_path)
    path = tmp_path / "train" / "7" / "100" / "7-100.trans.txt"
    content = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")
    path.write_bytes(content)
    data, report = read_librispeech(tmp_path, ["train"])
    assert data.text["7-100-0000"] == "HELLO IT'S NUMBER A"
    assert report.counts() == {("fixed", "byte order mark"): 1, ("fixed", "CR LF line ends"): 1}


def test_duplicates(tmp_path, helpers):
    helpers.write_corpus(tmp_path)
    folder = tmp_path / "train" / "7" / "100"
    lines = (folder / "7-100.trans.txt").read_text().splitlines()
    lines += ["7-100-0000 SOMETHING ELSE", lines[1]]
    (folder / "7-100.trans.txt").write_text("\n".join(lines))
    again = tmp_path / "other" / "7" / "100"
    again.mkdir(parents=True)
    (again / "7-100-0002.flac").write_bytes((folder / "7-100-0002.flac").read_bytes())
    data, report = read_librispeech(tmp_path, ["train", "other"])
    assert "7-100-0000" not in data.wav
    assert data.text["7-100-0001"] == "HELLO IT'S NUMBER B"
    assert "/train/" in data.wav["7-100-0002"]
    kinds = {i.kind for i in report.items}
    assert {"two different transcripts", "repeated line", "duplicate id"} <= kinds


def test_misplaced_files(tmp_path, helpers):
    helpers.write_corpus(tmp_path)
    folder = tmp_path / "train" / "7" / "100"
    (folder / "7-100-0001.flac").rename(folder / "12-100-0007.flac")
    (folder / "7-100-0002.flac").rename(folder / "noise.flac")
    data, report = read_librispeech(tmp_path, ["train"])
    misplaced = [i.utterance for i in report.items if i.kind == "misplaced file"]
    assert misplaced == ["12-100-0007", "noise"]
    assert len(data) == 4


def test_linked_folders_and_other_suffixes(tmp_path, helpers):
    helpers.write_corpus(tmp_path)
    chapter = tmp_path / "train" / "7" / "100"
    chapter.rename(tmp_path / "elsewhere")
    chapter.symlink_to(tmp_path / "elsewhere")
    (chapter / "loop").symlink_to(tmp_path / "train")
    (chapter / "7-100-0000.flac").rename(chapter / "7-100-0000.FLAC")
    (chapter / "7-100-0001.flac").rename(chapter / "7-100-0001.wav")
    data, report = read_librispeech(tmp_path, ["train"])
    assert [u for u in data.ids if u.startswith("7-")] == ["7-100-0000", "7-100-0002"]
    assert len(data) == 5
    assert ("not FLAC", "7-100-0001") in {(item.kind, item.utterance) for item in report.items}


def test_transcripts_that_are_no_text(tmp_path, helpers):
    helpers.write_corpus(tmp_path)
    table = tmp_path / "train" / "7" / "100" / "7-100.trans.txt"
    good = table.read_bytes()
    bad = good.replace(b"7-100-0001 ", b"7-100-0001 \xe9T\xe9 ")
    assert bad != good
    table.write_bytes(bad)
    data, report = read_librispeech(tmp_path, ["train"])
    assert len(data) == 5 and "7-100-0001" not in data.wav
    (item,) = report.items
    assert (item.kind, item.utterance, item.path) == ("not UTF-8 text", "7-100-0001", str(table))
    assert item.detail == "line 2"
    with pytest.raises(ValueError, match=r"7-100.trans.txt\): not UTF-8 text, line 2"):
        report.check_share(len(data), 0.1, "train")


def test_hidden_files_are_no_part_of_a_corpus(tmp_path, helpers):
    ids = helpers.write_corpus(tmp_path)
    folder = tmp_path / "train" / "7" / "100"
    (folder / "._7-100-0000.flac").write_bytes(b"\0\5\26\7")
    (folder / "._7-100.trans.txt").write_bytes(b"\0\5\26\7\xff 1")
    (folder / "7-100.trans.txt").rename(folder / "7-100.TRANS.TXT")
    data, report = read_librispeech(tmp_path, ["train"])
    assert (data.ids, report.items) == (ids, [])


def test_ids_that_do_not_match_are_shown(tmp_path, helpers):
    helpers.write_corpus(tmp_path)
    for table in tmp_path.rglob("*.trans.txt"):
        lines = [line.replace(" ", ".flac ", 1) for line in table.read_text().splitlines()]
        table.write_text("\n".join(lines))
    message = "ids of recordings: .*7-100-0000.*; ids of transcripts: .*7-100-0000.flac"
    with pytest.raises(ValueError, match=message):
        read_librispeech(tmp_path, ["train"])


def test_speech_alone_needs_no_transcripts(tmp_path, helpers):
    ids = helpers.write_corpus(tmp_path)
    for path in tmp_path.rglob("*.trans.txt"):
        path.unlink()
    data, report = read_librispeech(tmp_path, ["train"], with_text=False)
    assert (data.ids, data.text, report.items) == (ids, None, [])
    with pytest.raises(ValueError, match="no utterance .* has audio and transcript"):
        read_librispeech(tmp_path, ["train"])


def test_speakers(tmp_path, helpers):
    helpers.write_corpus(tmp_path)
    assert read_speakers(tmp_path) == {}
    table = (
        ";ID  |SEX| SUBSET |MINUTES| NAME\n7    | F | train | 1.0 | A | Pipe\n8 | M | x | 2 | B\n"
    )
    (tmp_path / "SPEAKERS.TXT").write_text(table)
    genders = read_speakers(tmp_path)
    assert genders == {"7": "f", "8": "m"}
    data, _ = read_librispeech(tmp_path, ["train"])
    assert unlisted_speakers(data, genders) == "SPEAKERS.TXT does not list 1 speakers: 12"
    assert unlisted_speakers(data, {}) == ""


def test_real_corpus(shared):
    corpus = shared / "data" / "LibriSpeech"
    data, report = read_librispeech(corpus, ["train-clean-5", "dev-mini", "test-other-mini"])
    assert (len(data), len(data.spk2utt), report.items) == (569, 36, [])
    assert unlisted_speakers(data, read_speakers(corpus)) == ""
