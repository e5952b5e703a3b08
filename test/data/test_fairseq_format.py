"""The released recipe's files, in and out."""

import time

import numpy as np
import pytest

from speechlm.data import fairseq_format as fairseq
from speechlm.data.archives import ArchiveReader, n_labels, read_frame_shift
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.unit_index import check_units


@pytest.fixture
def sample(tmp_path):
    """A manifest of two utterances with labels, letters and a dictionary."""
    (tmp_path / "t.tsv").write_text(
        "/audio root\n1/2/1-2-0000.flac\t1000\n1/2/1-2-0001.flac\t880\n"
    )
    (tmp_path / "t.phn").write_text("1 1 2 0\n2 2 2 2\n")
    (tmp_path / "t.ltr").write_text("H E | R A N |\nI T ' S |\n")
    (tmp_path / "dict.txt").write_text("<eps> 0\nSIL 1\nAH0_I 2\n")
    return tmp_path


def test_import(sample):
    manifest = fairseq.read_manifest(sample / "t.tsv")
    data = fairseq.import_audio(manifest, sample / "t.ltr")
    assert data.wav["1-2-0001"] == "/audio root/1/2/1-2-0001.flac"
    assert data.text == {"1-2-0000": "HE RAN", "1-2-0001": "IT'S"}
    assert data.utt2spk["1-2-0000"] == "1"
    tokens = fairseq.read_dictionary(sample / "dict.txt")
    assert tokens == ["<eps>", "SIL", "AH0_I"]
    assert fairseq.import_labels(manifest, sample / "t.phn", tokens, sample / "units") == 2
    assert ArchiveReader(sample / "units" / "units.scp")["1-2-0000"].tolist() == [1, 1, 2, 0]
    data.write(sample / "data")
    assert check_units(sample / "units", sample / "data") == {}


def test_names_that_are_no_ids(sample, run_main):
    (sample / "t.tsv").write_text("/data\na b/my file.flac\t1000\nc/d.flac\t880\n")
    words = ["--tsv", sample / "t.tsv", "--letters", sample / "t.ltr", "--output", sample / "out"]
    words += ["--labels", sample / "t.phn", "--dict", sample / "dict.txt"]
    result = run_main("import_fairseq", *words)
    assert result.returncode == 0 and "fixed: 1 name that is no id" in result.stderr, result.stderr
    data = DataDir.read(sample / "out")
    assert data.wav["my%20file"] == "/data/a b/my file.flac" and data.text["my%20file"] == "HE RAN"
    assert check_units(sample / "out" / "units_phone", sample / "out") == {}
    assert "'my file'" in (sample / "out" / "report.tsv").read_text()


def test_a_refused_manifest_leaves_a_report(sample, run_main):
    (sample / "t.tsv").write_text("/data\na |\t1000\nb.flac\t880\n")
    result = run_main("import_fairseq", "--tsv", sample / "t.tsv", "--output", sample / "out")
    assert (
        result.returncode == 1 and "1 paths cannot stand in wav.scp: '/data/a |'" in result.stderr
    )
    assert "1 paths cannot stand" in (sample / "out" / "report.tsv").read_text()
    assert not (sample / "out" / "wav.scp").exists()


def test_many_files_of_the_same_names_are_found_at_once(tmp_path):
    """A comparison of all with all would take minutes."""
    lines = [f"{folder}/{name}.wav\t400\n" for folder in range(200) for name in range(250)]
    (tmp_path / "t.tsv").write_text("/data\n" + "".join(lines))
    start = time.process_time()
    with pytest.raises(
        ValueError, match="file names that occur twice: 0 1 10 100 101 and 245 more"
    ):
        fairseq.read_manifest(tmp_path / "t.tsv")
    assert time.process_time() - start < 30


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.phn", "1 1\n2 2 2 2\n", "1-2-0000, 1000 samples at 0.01 s.* 4 labels .* found 2"),
        ("t.phn", "1 1 2 3\n2 2 2 2\n", r"labels 0\.\.2 expected for 1-2-0000, found 1\.\.3"),
        ("t.phn", "1 1 2 0\n", "2 lines expected, as in the .tsv, found 1"),
        ("t.phn", "1 1 2 AH\n2 2 2 2\n", "numbers expected for 1-2-0000"),
        ("t.ltr", "H E |\nIT |\n", "single letters"),
        ("t.ltr", "H E |\nI T\n", "single letters"),
        ("dict.txt", "SIL\n", r"dict.txt:1: `symbol count` expected"),
        ("t.tsv", "/a\nb.flac 12\n", r"t.tsv:2: `path<tab>samples` expected"),
        ("t.tsv", "/a\nb/x.flac\t12\nc/x.flac\t12\n", "file names that occur twice: x"),
        ("t.tsv", "", "an audio folder and at least one file"),
    ],
)
def test_bad_files(sample, name, content, message):
    (sample / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        manifest = fairseq.read_manifest(sample / "t.tsv")
        fairseq.import_audio(manifest, sample / "t.ltr")
        tokens = fairseq.read_dictionary(sample / "dict.txt")
        fairseq.import_labels(manifest, sample / "t.phn", tokens, sample / "units")
    assert not (sample / "units" / "units.scp").exists()


def test_labels_off_by_one_are_mended(sample):
    """1000 and 880 samples have 4 labels each."""
    (sample / "t.phn").write_text("1 1 2 0 0\n2 2 1\n")
    manifest = fairseq.read_manifest(sample / "t.tsv")
    fairseq.import_labels(manifest, sample / "t.phn", ["a", "b", "c"], sample / "units")
    units = ArchiveReader(sample / "units" / "units.scp")
    assert units["1-2-0000"].tolist() == [1, 1, 2, 0]
    assert units["1-2-0001"].tolist() == [2, 2, 1, 1]


def test_numbers_of_a_dictionary_are_its_symbols(sample):
    (sample / "t.km").write_text("7 2\n2 5\n")
    (sample / "t.tsv").write_text("/a\nx-1.flac\t1000\nx-2.flac\t800\n")
    manifest = fairseq.read_manifest(sample / "t.tsv")
    tokens = ["7", "5", "2"]
    fairseq.import_labels(manifest, sample / "t.km", tokens, sample / "units", 0.02)
    units = ArchiveReader(sample / "units" / "units.scp")
    assert (units["x-1"].tolist(), units["x-2"].tolist()) == ([0, 2], [2, 1])
    (sample / "t.km").write_text("7 2\n2 1\n")
    with pytest.raises(ValueError, match=r"x-2: units that the dictionary lacks: \[1\]"):
        fairseq.import_labels(manifest, sample / "t.km", tokens, sample / "u", 0.02)


def test_export_checks(sample):
    data = DataDir(
        {"a": "/x/a.flac", "b": "/y/b.flac"}, {"a": "a", "b": "b"}, None, {"a": 1, "b": 2}
    )
    fairseq.export_audio(data, sample / "o.tsv")
    assert (sample / "o.tsv").read_text() == "/\nx/a.flac\t1\ny/b.flac\t2\n"
    with pytest.raises(ValueError, match="audio is not inside of /x: b"):
        fairseq.export_audio(data, sample / "o.tsv", "/x")
    with pytest.raises(ValueError, match="transcripts expected"):
        fairseq.export_letters(data, sample / "o.ltr")
    manifest = fairseq.read_manifest(sample / "t.tsv")
    fairseq.import_labels(manifest, sample / "t.phn", ["a", "b", "c"], sample / "units")
    with pytest.raises(ValueError, match="no units of 2 utterances: a b"):
        fairseq.export_labels(data, sample / "units", sample / "o.phn")
    longer = fairseq.import_audio(manifest)
    longer.n_samples["1-2-0001"] = 16000
    with pytest.raises(ValueError, match="98 labels expected of 1-2-0001, found 4"):
        fairseq.export_labels(longer, sample / "units", sample / "o.phn")
    assert not (sample / "o.phn").exists()


def test_letters():
    assert fairseq.words_to_letters("IT'S I") == "I T ' S | I |"
    assert fairseq.letters_to_words("I T ' S | I |") == "IT'S I"


@pytest.mark.parametrize("kind", ["phone", "hidden"])
def test_official_samples_round_trip_byte_for_byte(tmp_path, shared, kind):
    release = shared / "data/official_label_samples/SpeechLM/dataset"
    folder = release / "LibriSpeech" / f"{kind}_unit"
    suffix, shift = ("phn", 0.01) if kind == "phone" else ("km", 0.02)
    names = release / "LibriLM/phone_unit/bin-idx/dict.phn.txt"
    tokens = fairseq.read_dictionary(names if kind == "phone" else folder / "dict.km.txt")
    letters = release / "LibriSpeech/asr/train_sample100.ltr"
    manifest = fairseq.read_manifest(folder / "train_sample100.tsv")
    labels = folder / f"train_sample100.{suffix}"
    data = fairseq.import_audio(manifest, letters)
    fairseq.import_labels(manifest, labels, tokens, tmp_path / "units", shift)
    data.write(tmp_path)
    assert check_units(tmp_path / "units", tmp_path) == {}
    first = ArchiveReader(tmp_path / "units" / "units.scp")["103-1240-0000"]
    assert len(first) == n_labels(225360, shift)
    if kind == "phone":
        assert [tokens[i] for i in np.unique(first[:50])] == ["SIL", "CH_B"]

    fairseq.export_audio(data, tmp_path / "o.tsv", manifest.root)
    got = fairseq.export_labels(data, tmp_path / "units", tmp_path / "o.labels")
    fairseq.export_dictionary(tmp_path / "o.dict", len(got))
    fairseq.export_letters(data, tmp_path / "o.ltr")
    assert (tmp_path / "o.tsv").read_bytes() == (folder / "train_sample100.tsv").read_bytes()
    assert (tmp_path / "o.labels").read_bytes() == labels.read_bytes()
    assert (tmp_path / "o.dict").read_bytes() == (folder / f"dict.{suffix}.txt").read_bytes()
    assert (tmp_path / "o.ltr").read_bytes() == letters.read_bytes()


@pytest.mark.parametrize("shift", [0.0, -0.01, 1e-9, 20.0, float("inf"), float("nan")])
def test_what_is_no_frame_shift_is_refused(sample, shift):
    manifest = fairseq.read_manifest(sample / "t.tsv")
    with pytest.raises(ValueError, match="seconds from a label to the next"):
        fairseq.import_labels(manifest, sample / "t.phn", ["a", "b", "c"], sample / "units", shift)
    (sample / "frame_shift").write_text(f"{shift}\n")
    with pytest.raises(ValueError, match="frame_shift: seconds from a label to the next"):
        read_frame_shift(sample)


def test_an_empty_dictionary_is_refused(sample):
    (sample / "dict.txt").write_text("")
    with pytest.raises(ValueError, match="dict.txt: .* the file is empty"):
        fairseq.read_dictionary(sample / "dict.txt")
