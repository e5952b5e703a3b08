"""What is known of the vectors of labels in a Kaldi archive without reading them.

Whoever writes NAME.ark leaves .NAME.ark.idx beside it: where each vector starts, how many labels it
has, the smallest and the largest. Of other archives the headers tell the numbers of labels.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from speechlm.data.atomic import output_file
from speechlm.data.columns import open_columns, state_of, write_columns

HEADER = 7
"""Bytes: 0 and B, 4 (the size of an integer), the number of labels as int32."""
LABEL = np.dtype([("size", "i1"), ("value", "<i4")])
"""Each label has its size before it."""
_START = np.array([0, ord("B"), 4], np.uint8)
_KINDS = {"offset": "<i8", "labels": "<i4", "least": "<i4", "most": "<i4"}


class Vector(NamedTuple):
    """A vector in an archive: the byte where its header starts, and its labels."""

    offset: int
    labels: int
    least: int
    """0 of an empty vector."""
    most: int


def write_vectors(ark: Path, vectors: Sequence[Vector]) -> None:
    """Write the index of an archive that is complete, its vectors in their order."""
    table = np.array(vectors, np.int64).reshape(-1, len(_KINDS))
    rows = {name: table[:, place] for place, name in enumerate(_KINDS)}
    with output_file(_index(ark), tidy=False) as path, path.open("wb") as file:
        write_columns(file, len(table), _KINDS, [rows], state_of({ark.name: ark}))


class ArkVectors:
    """The vectors of an archive, by the bytes where they start.

    Raises:
        OSError: the archive cannot be read.
    """

    def __init__(self, ark: Path) -> None:
        self.ark = ark
        self._columns = open_columns(_index(ark), state_of({ark.name: ark}))

    def counts(self, offsets: np.ndarray) -> np.ndarray:
        """(n,) int64 labels of the vectors at these bytes; -1 where there is none."""
        if self._columns is not None:
            places, found = self._places(offsets)
            return np.where(found, self._columns["labels"][places], -1)
        if len(self._bytes) < HEADER:
            return np.full(len(offsets), -1)
        inside = (offsets >= 0) & (offsets + HEADER <= len(self._bytes))
        # (n, 7) bytes of the headers; 4 of them are the number of labels
        heads = self._bytes[np.where(inside, offsets, 0)[:, None] + np.arange(HEADER)]
        counts = heads[:, len(_START) :].copy().view("<i4")[:, 0].astype(np.int64)
        right = inside & (heads[:, : len(_START)] == _START).all(1) & (counts >= 0)
        return np.where(right, counts, -1)

    def ranges(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) the smallest and the largest label of the vectors at these bytes, 0 of empty ones.

        Raises:
            ValueError: an archive without an index ends within a vector.
        """
        if self._columns is not None:
            places, _ = self._places(offsets)
            return self._columns["least"][places], self._columns["most"][places]
        least, most = np.zeros((2, len(offsets)), np.int64)
        for row, (offset, count) in enumerate(zip(offsets, self.counts(offsets), strict=True)):
            if offset + HEADER + LABEL.itemsize * count > len(self._bytes):
                raise ValueError(f"{self.ark} ends within the labels at byte {offset}")
            if count > 0:
                labels = np.frombuffer(self._bytes, LABEL, count, offset + HEADER)["value"]
                least[row], most[row] = labels.min(), labels.max()
        return least, most

    @cached_property
    def _bytes(self) -> np.ndarray:
        """The whole archive, mapped."""
        if not self.ark.stat().st_size:
            return np.empty(0, np.uint8)
        with self.ark.open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)

    def _places(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) rows of the index, and whether they are of these vectors."""
        assert self._columns is not None
        starts = self._columns["offset"]
        if not len(starts):
            return np.zeros(len(offsets), np.int64), np.zeros(len(offsets), bool)
        places = np.minimum(np.searchsorted(starts, offsets), len(starts) - 1)
        return places, starts[places] == offsets


def _index(ark: Path) -> Path:
    return ark.with_name(f".{ark.name}.idx")
