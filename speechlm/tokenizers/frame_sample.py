"""A random sample of frames of a corpus of any size, in bounded memory.

Every frame has a random number that follows from the seed, its utterance and its place; the sample
is the frames with the smallest ones. It is the same whatever the jobs, parts and order in which
the corpus is read. N frames, D dimensions.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.data.atomic import output_file
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.splitmix import random_numbers
from speechlm.data.whole_files import read_arrays, reading
from speechlm.tokenizers.feature_stream import Features, report_skipped, stream
from speechlm.tokenizers.speech_features import FeatureConfig

_MOVED = 1 << 14  # rows moved at a time


@dataclass(frozen=True)
class Sampling:
    """Which frames are drawn."""

    seed: int
    portion: float = 1.0
    """Share of the utterances that are looked at."""
    max_frames: int = 500_000
    """Frames kept of these utterances at most."""

    def __post_init__(self) -> None:
        if not 0 < self.portion <= 1:
            raise ValueError(f"portion: a share above 0, up to 1, expected, got {self.portion:g}")
        if self.max_frames < 1:
            raise ValueError(f"max_frames: at least 1 expected, got {self.max_frames}")

    def chooses(self, utterance: str) -> bool:
        """Whether an utterance is looked at."""
        return self._number("utterance", utterance) < self.portion * 2.0**64

    def keys(self, utterance: str, n_frames: int) -> np.ndarray:
        """Random numbers of an utterance's frames: (n_frames,) uint64."""
        # frame t has mix(start + t g), as good as uniform over 64 bits: the frames of the n
        # smallest are drawn without replacement, each set of n as likely
        start = self._number("frames", utterance) & 0x7FFFFFFFFFFFFFFF
        return random_numbers(start, np.arange(n_frames))

    def _number(self, what: str, utterance: str) -> int:
        digest = hashlib.sha256(f"{self.seed} {what} {utterance}".encode()).digest()
        return int.from_bytes(digest[:8], "little")


class FrameSample:
    """The frames with the smallest keys of all that were added."""

    def __init__(self, config: FeatureConfig, sampling: Sampling) -> None:
        self.config, self.sampling = config, sampling
        self.n_seen = self.n_utterances = 0
        self._n, self._limit = 0, np.uint64(2**64 - 1)
        self._keys = np.zeros(0, np.uint64)
        self._rows = np.zeros((0, config.dim), np.float32)

    def add(self, utterance: str, features: np.ndarray) -> None:
        """Add an utterance's features (T, D)."""
        self.n_seen += len(features)
        self.n_utterances += 1
        self._add(self.sampling.keys(utterance, len(features)), features)

    def _add(self, keys: np.ndarray, rows: np.ndarray) -> None:
        # what is above the n-th smallest key so far cannot be in the sample
        chosen = keys <= self._limit
        keys, rows = keys[chosen], rows[chosen]
        self._reserve(self._n + len(keys))
        self._keys[self._n : self._n + len(keys)] = keys
        self._rows[self._n : self._n + len(keys)] = rows
        self._n += len(keys)
        # a quarter more than wanted may come before rows are moved, so that it happens seldom
        if self._n > self.sampling.max_frames * 5 // 4:
            self._shrink()

    def frames(self) -> np.ndarray:
        """(N, D) float32, in the order of the keys, that is, in random order."""
        self._shrink()
        keys = self._keys[: self._n]
        order = np.argsort(keys)
        if (np.diff(keys[order]) == 0).any():
            raise ValueError("frames occur twice: two parts of the sample hold the same utterance")
        return self._rows[order]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an npz file."""
        self._shrink()
        with output_file(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                keys=self._keys[: self._n],
                rows=self._rows[: self._n],
                features=np.array(self.config.to_json()),
                counts=np.array([self.n_utterances, self.n_seen, self.sampling.seed]),
                limits=np.array([self.sampling.portion, self.sampling.max_frames]),
            )

    def _reserve(self, n: int) -> None:
        if n > len(self._keys):
            room = max(n, min(2 * len(self._keys), self.sampling.max_frames * 5 // 4 + 2000))
            keys, rows = np.zeros(room, np.uint64), np.zeros((room, self.config.dim), np.float32)
            keys[: self._n], rows[: self._n] = self._keys[: self._n], self._rows[: self._n]
            self._keys, self._rows = keys, rows

    def _shrink(self) -> None:
        """Keep the smallest keys, without a second copy of the rows."""
        if self._n <= self.sampling.max_frames:
            return
        keys = self._keys[: self._n]
        self._limit = np.partition(keys, self.sampling.max_frames - 1)[self.sampling.max_frames - 1]
        # Rows that stay move forward in place. As their numbers ascend, none is overwritten before
        # it has moved:
        #
        #   rows   a . b . . c      ->   a b c
        #   kept   0   2     5           0 1 2
        kept = np.flatnonzero(keys <= self._limit)
        for start in range(0, len(kept), _MOVED):
            part = kept[start : start + _MOVED]
            self._keys[start : start + len(part)] = self._keys[part]
            self._rows[start : start + len(part)] = self._rows[part]
        self._n = len(kept)


def sample_data(
    data: DataDir, source: Features, sampling: Sampling, skipped: dict[str, str]
) -> FrameSample:
    """The sample of a (part of a) data directory; `skipped` as in `stream`."""
    chosen = [u for u in data.ids if sampling.chooses(u)]
    sample = FrameSample(source.config, sampling)
    if chosen:
        for utterance, features in stream(data.subset(chosen), source, skipped):
            sample.add(utterance, features)
    return sample


def write_sample(
    data: DataDir,
    source: Features,
    sampling: Sampling,
    folder: str | os.PathLike[str],
    job: int = 1,
) -> FrameSample:
    """Write `sample.JOB.npz` and `skipped.JOB`."""
    skipped: dict[str, str] = {}
    sample = sample_data(data, source, sampling, skipped)
    sample.save(Path(folder) / f"sample.{job}.npz")
    report_skipped(folder, job, skipped)
    return sample


def merge_samples(paths: Sequence[Path]) -> FrameSample:
    """The sample of a corpus whose parts have been sampled by jobs.

    Raises:
        ValueError: a file is missing or damaged, or they differ in features, seed or limits.
    """
    merged: FrameSample | None = None
    for path in paths:
        part, keys, rows = _read_sample(path)
        if merged is None:
            merged = FrameSample(part.config, part.sampling)
        merged.config.check_same(part.config, str(paths[0]), str(path))
        if merged.sampling != part.sampling:
            raise ValueError(
                f"{paths[0]} and {path} are drawn in different ways: {merged.sampling} and "
                f"{part.sampling}"
            )
        merged.n_seen += part.n_seen
        merged.n_utterances += part.n_utterances
        merged._add(keys, rows)
    if merged is None:
        raise ValueError("at least one sample file expected")
    return merged


def _read_sample(path: Path) -> tuple[FrameSample, np.ndarray, np.ndarray]:
    names = ("keys", "rows", "features", "counts", "limits")
    advice = "the job of sample_features that writes it must run again"
    file = read_arrays(path, names, "sample of frames", advice)
    with reading(path, "sample of frames", advice):
        config = FeatureConfig.from_json(str(file["features"]), str(path))
        n_utterances, n_seen, seed = map(int, file["counts"])
        portion, max_frames = file["limits"].tolist()
    sample = FrameSample(config, Sampling(seed, portion, int(max_frames)))
    sample.n_utterances, sample.n_seen = n_utterances, n_seen
    return sample, file["keys"], file["rows"]
