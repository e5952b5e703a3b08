"""The padded batches of every training keep the limit that its configuration gives."""

import argparse

import numpy as np
import pytest
import torch

from speechlm.data.kaldi_dir import DataDir, read_table
from speechlm.tasks.asr import SpeechLMASRTask
from speechlm.tasks.batching import limited_batches
from speechlm.tasks.common import IteratorOptions, data_options, parse_training, speech_options
from speechlm.tasks.phone_model import PhoneModelTask
from speechlm.tasks.run_phone_model import write_shapes
from speechlm.tasks.text_to_unit import TextToUnitTask
from speechlm.tokenizers.aligned_units import NAMES, make_pairs


@pytest.fixture(scope="module")
def lengths(tmp_path_factory):
    """A shape file of 200 utterances, and their lengths."""
    path = tmp_path_factory.mktemp("shapes") / "shapes"
    sizes = np.random.default_rng(0).integers(100, 1000, 200)
    path.write_text("".join(f"u{n:03d} {size}\n" for n, size in enumerate(sizes)))
    return path, {f"u{n:03d}": int(size) for n, size in enumerate(sizes)}


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_every_worker_has_its_share_of_the_limit(lengths, workers):
    path, sizes = lengths
    parts = limited_batches(path, 16000, workers)
    assert len(parts) == workers and len({len(part) for part in parts}) == 1
    for step in zip(*parts, strict=True):
        assert sum(len(b) * max(sizes[u] for u in b) for b in step) <= 16000
        assert all(len(b) * max(sizes[u] for u in b) <= 16000 // workers for b in step)
    assert sorted(u for part in parts for b in part for u in b) == sorted(sizes)


def test_utterances_larger_than_a_batch_are_named(lengths):
    path, sizes = lengths
    large = [u for u, n in sizes.items() if n > 500]
    with pytest.raises(ValueError, match=rf"{path}: {len(large)} of 200 .* {large[0]} \("):
        limited_batches(path, 1000, 2)
    with pytest.raises(ValueError, match=f"batch_bins of {2 * max(sizes.values())} or more"):
        limited_batches(path, 1000, 2)
    with pytest.raises(ValueError, match=f"{path}: 200 utterances .* by 300 workers"):
        limited_batches(path, 300_000, 300)


def test_width_counts(tmp_path):
    (tmp_path / "shapes").write_text("a 10,40\nb 10,40\nc 10,40\n")
    assert [len(b) for b in limited_batches(tmp_path / "shapes", 800, 1)[0]] == [2, 1]


def test_batches_keep_to_samples_and_sentences(tmp_path):
    """10 samples or 2 sentences a worker, of two."""
    sizes = {"a": 1, "b": 1, "c": 1, "d": 1, "e": 2, "f": 5, "g": 5, "h": 6}
    (tmp_path / "shapes").write_text("".join(f"{u} {n}\n" for u, n in sizes.items()))
    for limit, most in ((None, 3), (4, 2)):
        parts = limited_batches(tmp_path / "shapes", 20, 2, limit)
        batches = [batch for part in parts for batch in part]
        assert sorted(u for batch in batches for u in batch) == sorted(sizes)
        assert all(len(batch) * max(sizes[u] for u in batch) <= 10 for batch in batches)
        assert max(map(len, batches)) == most
        assert len(parts[0]) == len(parts[1])
    with pytest.raises(ValueError, match="max_sentences: 2 or more expected, one a worker, got 1"):
        limited_batches(tmp_path / "shapes", 20, 2, 1)


def _batches(args: argparse.Namespace, task: type, mode: str = "train") -> list:
    """What the training gets of its loader in an epoch."""
    train = mode == "train"
    options = IteratorOptions(
        preprocess_fn=task.build_preprocess_fn(args, train),
        collate_fn=task.build_collate_fn(args, train),
        data_path_and_name_and_type=args.train_data_path_and_name_and_type,
        shape_files=args.train_shape_file,
        batch_size=1,
        batch_bins=args.batch_bins,
        batch_type=args.batch_type,
        max_cache_size=0,
        max_cache_fd=0,
        allow_multi_rates=False,
        distributed=False,
        num_batches=None,
        num_iters_per_epoch=None,
        train=train,
    )
    return list(task.build_sequence_iter_factory(args, options, mode).build_iter(1))


@pytest.fixture
def recognition(chords, tmp_path):
    """Task, name of the padded tensor, limit, utterances, options."""
    folder = chords / "train"
    data = speech_options("train", folder, folder / "text", folder / "utt2num_samples")
    return SpeechLMASRTask, "speech", 90_000, DataDir.read(folder).ids, data


@pytest.fixture
def text_to_unit(make_data_dir, tmp_path):
    """The same of the text-to-unit model, with the labels of speech as units."""
    make_data_dir(tmp_path / "data", 30, 7)
    units = tmp_path / "data" / "units_phone"
    make_pairs(units, units, tmp_path / "pairs", 0.1)
    folder = tmp_path / "pairs" / "train"
    sources = {name: (folder / f"{name}.scp", "kaldi_ark") for name in NAMES}
    data = data_options("train", sources, folder / "units_shape")
    ids = sorted(read_table(folder / "units.scp"))
    return TextToUnitTask, "units", 700, ids, [*data, "--pairs", str(tmp_path / "pairs")]


@pytest.fixture
def phone_model(tmp_path):
    """The same of the recogniser's network."""
    from speechlm.data.archives import ArchiveWriter, merge_archives

    random = np.random.default_rng(0)
    ids = [f"u{n:02d}" for n in range(40)]
    for name in ("feats", "classes", "states"):
        with ArchiveWriter(tmp_path, name) as writer:
            for n, utterance in enumerate(ids):
                frames = 40 + 7 * (n * 11 % 40)
                shape = (frames, 5) if name == "feats" else (frames,)
                kind = np.float32 if name == "feats" else np.int32
                writer.write(utterance, random.integers(0, 3, shape).astype(kind))
        merge_archives(tmp_path, 1, name)
    names = ("feats", "classes", "states")
    sources = {name: (tmp_path / f"{name}.scp", "kaldi_ark") for name in names}
    data = data_options("train", sources, write_shapes(tmp_path))
    return PhoneModelTask, "feats", 4000, ids, data


@pytest.mark.parametrize("training", ["recognition", "text_to_unit", "phone_model"])
def test_padded_batches_of_trainings_keep_the_limit(training, request, tmp_path):
    task, name, limit, ids, data = request.getfixturevalue(training)
    options = {"batch_type": "numel", "batch_bins": limit, "num_workers": 0}
    args = parse_training(task, tmp_path / "exp", None, options, data)
    made = _batches(args, task)
    sizes = [batch[name].numel() for _, batch in made]
    assert len(sizes) > 3 and max(sizes) <= limit and np.mean(sizes) > 0.5 * limit
    assert sorted(u for batch_ids, _ in made for u in batch_ids) == sorted(ids)
    assert all(isinstance(x, torch.Tensor) for x in made[0][1].values())


def test_options_without_meaning_are_refused(recognition, tmp_path):
    task, _, limit, _, data = recognition
    options = {"batch_type": "numel", "batch_bins": limit, "min_batch_size": 2}
    args = parse_training(task, tmp_path / "exp", None, options, data)
    with pytest.raises(ValueError, match="batch_type numel goes without min_batch_size"):
        _batches(args, task)
