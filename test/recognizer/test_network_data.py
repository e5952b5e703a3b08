"""Copies at other speeds: whose they are, whatever the ids of the corpus look like; tuning."""

from dataclasses import replace

import numpy as np
import pytest

from speechlm.data.archives import ArchiveReader, ArchiveWriter, merge_archives
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import phone_id
from speechlm.recognizer.decoding import SearchConfig
from speechlm.recognizer.network_data import held_out, make_network_data
from speechlm.recognizer.topology import NOISE_ID, UNKNOWN, positioned
from speechlm.recognizer.tuning import HeldOut, least_noise, tune

SPEEDS = {1.0: "", 0.9: "sp0.9-", 1.1: "sp1.1-"}
"""What ids of alignments at these speeds begin with."""
IDS = [
    ("1-2-{:03d}", "librispeech"),
    ("spk1-{:03d}", "speaker mark"),
    ("speaker{:03d}-a", "speaker name"),
    ("spk{:03d}-train-u2", "speaker of each"),
    ("sp{:03d}-x", "number alone"),
    ("sp1.0-{:03d}", "speed of no copy"),
    ("sp1.1-{:03d}", "speed of a copy"),
    ("sp0.9-sp1.1-{:03d}", "two speeds"),
]


def of(pattern, n=100):
    """So many ids of a corpus."""
    return [pattern.format(i) for i in range(n)]


def test_every_twentieth_is_held_out():
    assert held_out(of("1-2-{:03d}")) == {f"1-2-{n:03d}" for n in (10, 30, 50, 70, 90)}
    assert held_out(["a", "b"]) == {"b"}
    with pytest.raises(ValueError, match="at least 2"):
        held_out(["1-2-3", "1-2-3"])


def write_alignment(folder, ids, speed=1.0):
    """Alignments of 30 frames of noise each, of copies at a speed."""
    random = np.random.default_rng(0)
    values = {
        "units": np.repeat([phone_id[p] for p in ("SIL", "T_B", "UW1_E")], 10).astype(np.int32),
        "states": np.repeat(np.arange(3, dtype=np.int32), 10),
        "feats": random.normal(size=(30, 3)).astype(np.float32),
    }
    for name, value in values.items():
        with ArchiveWriter(folder, name, 1) as writer:
            for utterance in ids:
                writer.write(utterance, value)
        merge_archives(folder, 1, name)
    (folder / "speed").write_text(f"{speed:g}\n")


@pytest.mark.parametrize("pattern", [p for p, _ in IDS], ids=[name for _, name in IDS])
def test_held_out_speech_is_in_training_at_no_speed(tmp_path, pattern):
    ids = of(pattern, 40)
    folders = [tmp_path / f"align_{n}" for n in range(len(SPEEDS))]
    for folder, (speed, mark) in zip(folders, SPEEDS.items(), strict=True):
        write_alignment(folder, [mark + u for u in ids], speed)
    make_network_data(folders[::-1], tmp_path / "net", min_count=30)
    valid, train = (
        set(ArchiveReader(tmp_path / "net" / part / "feats.scp")) for part in ("valid", "train")
    )
    assert valid == {ids[10], ids[30]}
    assert train == {mark + u for mark in SPEEDS.values() for u in ids if u not in valid}


def test_a_folder_that_does_not_say_its_speed(tmp_path):
    write_alignment(tmp_path / "align", of("1-2-{:03d}", 4))
    (tmp_path / "align" / "speed").unlink()
    with pytest.raises(ValueError, match="align/speed, the speed of the copies, expected; align"):
        make_network_data([tmp_path / "align"], tmp_path / "net", min_count=30)


class Decoder:
    """Stands in for decoding: right words at scale 0.5, else none; noise by margin."""

    finds_noise = True

    def __init__(self, graph, config):
        self.config = config

    def decode(self, scores):
        config = self.config
        if config.noise_rate == 0:
            return (["TWO", "ZEBRA"] if config.acoustic_scale == 0.5 else []), None
        assert config.acoustic_scale == 0.5
        # eats a word, right from 1.5 to 2.5, ZEBRA's phones as those of another word
        wrong = ["<unk>", "<unk>"] if config.noise_margin < 1.5 else ["TWO", "TOO", "TWO"]
        return (["TWO", "<unk>"] if 1.5 <= config.noise_margin <= 2.5 else wrong), None


class Scorer:
    """Stands in for the network."""

    def class_scores(self, feats):
        return np.zeros((len(feats) // 3, 41), np.float32)


KNOWN = {
    "TWO": [positioned(["T", "UW1"])],
    "TOO": [positioned(["T", "UW1"])],
    UNKNOWN: [(NOISE_ID,)],
}


@pytest.fixture
def tuning(tmp_path, monkeypatch):
    """What `tune` takes, for held-out utterances of some words."""
    monkeypatch.setattr("speechlm.recognizer.tuning.WordDecoder", Decoder)
    ids = of("spk1-{:03d}", 4)
    write_alignment(tmp_path / "align", ids)
    make_network_data([tmp_path / "align"], tmp_path / "net", min_count=30)
    (tmp_path / "graph").mkdir()

    def values(words):
        text = dict.fromkeys(ids, "TWO TOO TWO TWO TWO") | {"spk1-003": words}
        data = DataDir(dict.fromkeys(ids, "a.flac"), dict.fromkeys(ids, "spk1"), text)
        held_out = HeldOut.read(data, tmp_path / "net", Scorer(), 60)
        assert held_out.words == [words.split()]
        return data, held_out, KNOWN, tmp_path / "graph", SearchConfig(noise_margin=3.5)

    return values


def test_the_search_is_tuned_for_any_ids(tuning, tmp_path):
    best = tune(*tuning("TWO ZEBRA"), scales=(0.3, 0.5, 1), margins=(1.25, 1.5, 2, 2.5, 3))
    assert best.acoustic_scale == 0.5
    assert best.noise_rate == 2 / 19
    assert best.noise_margin == 2.5
    best.save(tmp_path / "search.json")
    assert SearchConfig.load(tmp_path / "search.json") == best


def test_the_margin_of_noise_stays_where_nothing_tells(tuning, caplog):
    best = tune(*tuning("TWO TOO"), margins=(1.5, 2))
    assert (best.noise_rate, best.noise_margin) == (1 / 19, 3.5)
    assert "none of the 1 held-out utterances has a word without pronunciation" in caplog.text
    assert "the margin stays 3.5" in caplog.text


def test_a_graph_without_noise_needs_no_margin(tuning, monkeypatch):
    monkeypatch.setattr(Decoder, "finds_noise", False)
    data, held_out, known, graph, config = tuning("TWO ZEBRA")
    assert tune(data, held_out, known, graph, config) == replace(config, acoustic_scale=0.5)


def test_no_transcripts_to_tune_on(tuning, tmp_path):
    data, *_ = tuning("TWO TOO")
    silent = DataDir(data.wav, data.utt2spk, None)
    with pytest.raises(ValueError, match="transcripts expected"):
        HeldOut.read(silent, tmp_path / "net", Scorer(), 60)
    other = DataDir({"a-1": "a.flac"}, {"a-1": "a"}, {"a-1": "TWO"})
    with pytest.raises(ValueError, match="net/valid has no utterance of the data directory"):
        HeldOut.read(other, tmp_path / "net", Scorer(), 60)


def test_noise_is_as_seldom_as_the_held_out_utterances_allow():
    """One utterance of many with an unknown word does not choose the margin."""
    rng = np.random.default_rng(0)
    usual = rng.integers(5, 9, 60)
    one = usual.copy()
    one[3] += 12  # without noise a name becomes other words
    assert least_noise({3.0: usual + 1, 4.0: usual, 5.0: one}) == 5.0
    many = usual + (np.arange(60) % 3 == 0) * 4
    assert least_noise({3.0: usual + 1, 4.0: usual, 5.0: many}) == 4.0
    assert least_noise({3.0: usual, 4.0: usual.copy()}) == 4.0
