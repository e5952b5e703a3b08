"""Copies at other speeds: whose they are, whatever the ids of the corpus look like."""

import numpy as np
import pytest

from speechlm.data.archives import ArchiveReader, ArchiveWriter, merge_archives
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import phone_id
from speechlm.recognizer.decoding import SearchConfig
from speechlm.recognizer.network_data import held_out, make_network_data
from speechlm.recognizer.tuning import tune_scale

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


def test_the_acoustic_scale_is_chosen_for_any_ids(tmp_path, monkeypatch):
    """Decoding stands in: right words at the second scale, none at the others."""
    ids = of("spk1-{:03d}", 4)
    write_alignment(tmp_path / "align", ids)
    make_network_data([tmp_path / "align"], tmp_path / "net", min_count=30)
    words = dict.fromkeys(ids, "TWO TOO")
    data = DataDir(dict.fromkeys(ids, "a.flac"), dict.fromkeys(ids, "spk1"), words)

    class Decoder:
        def __init__(self, graph, config):
            self.config = config

        def decode(self, scores):
            return (["TWO", "TOO"] if self.config.acoustic_scale == 0.5 else []), None

    class Scorer:
        def class_scores(self, feats):
            return feats

    monkeypatch.setattr("speechlm.recognizer.tuning.WordDecoder", Decoder)
    graph, scales = tmp_path / "graph", (0.3, 0.5, 1)
    graph.mkdir()
    best = tune_scale(data, tmp_path / "net", Scorer(), graph, scales, beam=9.0, max_active=100)
    assert best.acoustic_scale == 0.5 and SearchConfig.load(graph / "search.json") == best
