"""Layers of a task's utterances: computed once and kept in archives, or whenever they are needed.

OUTPUT/features.json says of which model they are, OUTPUT/feats.scp where each utterance's are:
matrices (T, L D), the L layers of a frame behind each other.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from speechlm.data.archives import ArchiveReader, ArchiveWriter, merge_archives
from speechlm.data.atomic import write_text
from speechlm.data.kaldi_dir import DataDir, show_ids
from speechlm.progress import progress
from speechlm.superb.upstream import Description, Upstream

RECORD = "features.json"
NAME = "feats"
_IN_MEMORY = 2e9
"""Bytes of layers that are kept in memory between epochs."""


class Features(Protocol):
    """Layers by utterance."""

    description: Description

    def __getitem__(self, utterance: str) -> np.ndarray:
        """(T, L, D) float32."""


class StoredFeatures:
    """Layers in archives; as many as fit stay in memory once they were read."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.description = read_record(folder)
        self._arrays = ArchiveReader(Path(folder) / f"{NAME}.scp")
        self._kept: dict[str, np.ndarray] = {}
        self._size = 0

    def __getitem__(self, utterance: str) -> np.ndarray:
        found = self._kept.get(utterance)
        if found is None:
            if utterance not in self._arrays:
                raise ValueError(
                    f"{self._arrays.scp}: layers of {utterance} expected, but they are not there; "
                    "extract them of the same data directory"
                )
            flat = np.array(self._arrays[utterance])  # a copy, which torch may take as it is
            found = flat.reshape(len(flat), self.description.layers, self.description.dim)
            if self._size + found.nbytes <= _IN_MEMORY:
                self._kept[utterance] = found
                self._size += found.nbytes
        return found


class LiveFeatures:
    """Layers computed from audio each time: nothing on disk, much more time."""

    def __init__(self, upstream: Upstream, data: DataDir) -> None:
        self.description = upstream.description
        self._upstream, self._data = upstream, data

    def __getitem__(self, utterance: str) -> np.ndarray:
        return self._upstream(self._data.waveform(utterance))


def extract(upstream: Upstream, data: DataDir, output: str | os.PathLike[str]) -> int:
    """Write the layers of all utterances; returns how many bytes they take.

    Raises:
        ValueError: utterances are shorter than a frame, the disk is too small, or the folder holds
            the layers of another model.
    """
    folder, description = Path(output), upstream.description
    check_lengths(description, data)
    if (folder / RECORD).is_file():
        check_same(description, read_record(folder), str(folder))
    size = bytes_of(description, data.samples())
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > 0.9 * free:
        raise ValueError(
            f"{folder}: {size / 1e9:.1f} GB expected for the layers of {len(data)} utterances, "
            f"{free / 1e9:.1f} GB are free; make room, or compute them when they are needed "
            "(./run.sh --on_the_fly true)"
        )
    with ArchiveWriter(folder, NAME, 1) as writer:
        for utterance in progress(data.ids, "utterances"):
            layers = upstream(data.waveform(utterance))
            writer.write(utterance, layers.reshape(len(layers), -1))
    merge_archives(folder, 1, NAME)
    write_text(folder / RECORD, json.dumps(dataclasses.asdict(description)) + "\n")
    return size


def bytes_of(description: Description, samples: Mapping[str, int]) -> int:
    """What the layers of utterances of so many samples take as float32."""
    frames = sum(description.framing.frames(n) for n in samples.values())
    return 4 * frames * description.layers * description.dim


def check_lengths(description: Description, data: DataDir) -> None:
    """Refuse utterances that have no frame.

    Raises:
        ValueError: there are some; they are named.
    """
    samples = data.samples()
    short = [u for u in data.ids if samples[u] < description.window]
    if short:
        raise ValueError(
            f"{len(short)} utterances are shorter than a frame of {description.kind} "
            f"({description.window} samples): {show_ids(short)}; leave them out for all models "
            "(./run.sh --min_seconds)"
        )


def check_same(ours: Description, theirs: Description, place: str) -> None:
    """Refuse layers of another model.

    Raises:
        ValueError: they are of another; both are named.
    """
    if not ours.same_as(theirs):
        raise ValueError(
            f"{place} holds layers of {theirs.kind} {theirs.model} ({theirs.layers} of width "
            f"{theirs.dim}, weights {theirs.weights[:8] or 'none'}), those of {ours.kind} "
            f"{ours.model} ({ours.layers} of width {ours.dim}, weights "
            f"{ours.weights[:8] or 'none'}) are expected; remove the folder, or give the model "
            "another name"
        )


def read_record(folder: str | os.PathLike[str]) -> Description:
    """Of which model the layers in a folder are.

    Raises:
        ValueError: the folder has no record, or a damaged one.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise ValueError(f"{path} expected, but it is not there: extract the layers first")
    try:
        return Description(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: no description of layers ({error}); extract them anew") from None
