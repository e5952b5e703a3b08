"""Data directories."""

import os
import re

import numpy as np
import pytest
import soundfile

from speechlm.data.dir_parts import combine
from speechlm.data.kaldi_dir import DataDir, read_table
from speechlm.decode import write_emissions
from speechlm.recognizer.gmm_training import load_corpus


def make(n: int = 10, speakers: int = 3, prefix: str = "", seed: int = 0) -> DataDir:
    rng = np.random.default_rng(seed)
    ids = [f"{prefix}s{i % speakers}-{i:03d}" for i in range(n)]
    return DataDir(
        {u: f"audio files/{u}.flac" for u in ids},
        {u: u.split("-")[0] for u in ids},
        dict.fromkeys(ids, "HELLO"),
        {u: int(rng.integers(8000, 400000)) for u in ids},
    )


def test_round_trip_is_sorted_in_the_c_locale(tmp_path):
    ids = ["b-1", "B-1", "a-10", "a-2", "a_1-1", "é-1"]
    data = DataDir({u: f"/x/{u} y.flac" for u in ids}, {u: u.split("-")[0] for u in ids})
    data.write(tmp_path / "d")
    lines = (tmp_path / "d" / "wav.scp").read_text(encoding="utf-8").splitlines()
    written = [line.split()[0] for line in lines]
    assert written == sorted(ids, key=lambda u: u.encode())
    assert written[0] == "B-1"
    again = DataDir.read(tmp_path / "d")
    assert again == data
    assert (tmp_path / "d" / "spk2utt").read_text().splitlines()[1] == "a a-10 a-2"
    assert not (tmp_path / "d" / "text").exists()


def test_writing_removes_tables_that_are_gone(tmp_path):
    data = make()
    data.write(tmp_path)
    DataDir(data.wav, data.utt2spk).write(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["spk2utt", "utt2spk", "wav.scp"]
    with pytest.raises(ValueError, match="run format_data first"):
        DataDir.read(tmp_path).samples()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("b 1\na 2\n", "not sorted in the C locale: a comes after b"),
        ("a 1\na 2\n", r"wav\.scp:2: duplicate id a"),
        ("\ufeffa 1\n", "byte order mark"),
        ("a 1\r\n", "CR LF"),
        ("a\n", "an id and a value expected"),
        ("a 1\n\n", "an id and a value expected"),
        ("a sox in.sph - |\n", "a plain path expected"),
    ],
)
def test_bad_tables(tmp_path, content, message):
    (tmp_path / "wav.scp").write_bytes(content.encode())
    (tmp_path / "utt2spk").write_text("a a\nb b\n")
    with pytest.raises(ValueError, match=message):
        DataDir.read(tmp_path)


def test_tables_with_different_ids(tmp_path):
    make(3).write(tmp_path)
    (tmp_path / "text").write_text("s0-000 A\ns1-001 B\n")
    with pytest.raises(ValueError, match="wav.scp and text have different ids: s2-002"):
        DataDir.read(tmp_path)
    with pytest.raises(ValueError, match="data directory expected"):
        DataDir.read(tmp_path / "absent")


def test_a_directory_without_utterances_is_refused(tmp_path):
    """A program that reads it would write empty results, and report success."""
    DataDir({}, {}, {}, {}).write(tmp_path)
    with pytest.raises(ValueError, match="wav.scp is empty"):
        DataDir.read(tmp_path)


def test_bad_sample_counts(tmp_path):
    make(2).write(tmp_path)
    (tmp_path / "utt2num_samples").write_text("s0-000 12\ns1-001 -3\n")
    with pytest.raises(ValueError, match="number of samples expected for s1-001"):
        DataDir.read(tmp_path)


def test_subset(tmp_path):
    data = make()
    part = data.subset(["s1-001", "s0-003"])
    assert part.ids == ["s0-003", "s1-001"]
    assert part.n_samples == {u: data.n_samples[u] for u in part.ids}
    with pytest.raises(ValueError, match="1 ids are not in wav.scp: nobody"):
        data.subset(["nobody", "s1-001"])


def test_combine():
    one, two = make(prefix="a"), make(prefix="b")
    both = combine([two, one])
    assert both.ids == one.ids + two.ids
    two.text = None
    assert combine([one, two]).text is None
    with pytest.raises(ValueError, match="10 ids are in two of the parts"):
        combine([one, one])


def test_text_may_be_empty_but_paths_may_not(tmp_path):
    (tmp_path / "text").write_text("a\nb B\n")
    assert read_table(tmp_path / "text", empty=True) == {"a": "", "b": "B"}
    with pytest.raises(ValueError, match="an id and a value"):
        read_table(tmp_path / "text")


@pytest.fixture(params=["length", "number"])
def wrong(request, tmp_path, helpers):
    """Two utterances, the first of which is not what the tables say or is no sound."""
    for name in ("s-1", "s-2"):
        soundfile.write(tmp_path / f"{name}.wav", helpers.tone(2), 16000, "FLOAT")
    paths = {u: str(tmp_path / f"{u}.wav") for u in ("s-1", "s-2")}
    data = DataDir(
        paths, dict.fromkeys(paths, "s"), dict.fromkeys(paths, "A"), dict.fromkeys(paths, 32000)
    )
    wave = np.append(helpers.tone(2), 0.1)
    if request.param == "number":
        wave = wave[:-1]
        wave[9] = np.nan
    soundfile.write(paths["s-1"], wave, 16000, "FLOAT")
    message = {"length": "utt2num_samples says 32000, found 32001", "number": "not finite numbers"}
    return data, f"utterance s-1: .*s-1.wav: .*{message[request.param]}; run format_data"


def test_samples_are_those_that_the_tables_promise(wrong):
    data, message = wrong
    assert len(data.waveform("s-2")) == 32000
    with pytest.raises(ValueError, match=message):
        data.waveform("s-1")


def test_recognition_refuses_and_training_lists_what_is_wrong(wrong, monkeypatch):
    data, message = wrong
    none = np.zeros((0, 33))
    monkeypatch.setattr(write_emissions, "log_probabilities", lambda _, w: [none] * len(w))
    with pytest.raises(ValueError, match=message):
        list(write_emissions.emissions_of(None, data, 1))
    corpus = load_corpus(data, 1.0)
    assert corpus.ids == ["s-2"] and re.match(message, corpus.failed["s-1"])
