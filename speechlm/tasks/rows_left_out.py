"""What pre-training leaves out of a data directory of any size, named when it is listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, overload

import numpy as np

from speechlm.data.kaldi_dir import MOST_SHOWN
from speechlm.data.report import Report
from speechlm.data.report_items import Item, Items
from speechlm.data.utterances import Utterances


class RowsUsed:
    """The rows of the utterances that are used, ascending; in memory are those of the others.

    `rows[i]` are the rows of indices i, a number, (n,) int64 or a slice.

    Args:
        n: number of rows.
        others: (m,) int64 rows that are not used, ascending.
    """

    def __init__(self, n: int, others: np.ndarray) -> None:
        self._n, self._others = n, others
        # Index i is row i + j if j of the others come before, the last of them being row < i + j.
        self._gaps = others - np.arange(len(others))

    def __len__(self) -> int:
        return self._n - len(self._others)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        elif not isinstance(index, np.ndarray):
            index = range(len(self))[index]  # IndexError behind the last
        return index + np.searchsorted(self._gaps, index, "right")

    def of(self, column: np.ndarray, start: int) -> np.ndarray:
        """Values of the rows that are used, from those of all rows from `start` on."""
        first, last = np.searchsorted(self._others, (start, start + len(column)))
        return np.delete(column, self._others[first:last] - start)


class _Items(Sequence[Item]):
    """Items of the rows without units and of those that are too short, in the rows' order."""

    def __init__(
        self,
        utterances: Utterances,
        units: str,
        min_samples: int,
        rows: np.ndarray,
        bare: np.ndarray,
    ) -> None:
        self._utterances, self._units, self._min_samples = utterances, units, min_samples
        self._rows, self._bare = rows, bare

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row, one = int(self._rows[index]), Report()
        utterance = self._utterances.id(row)
        if self._bare[index]:
            folder = self._utterances.folder / self._units
            one.leave_out("no units", utterance, folder, f"not in {self._units}")
        else:
            detail = f"{self._utterances.samples[row]} samples, fewer than {self._min_samples}"
            one.filter("too short", utterance, self._utterances.audio(row).path, detail)
        return one.items[0]


class RowsLeftOut(Report):
    """The report of a data directory's utterances without units and of those that are too short.

    Its items are made when they are asked for: millions of them take no memory.

    Args:
        utterances: of the data directory.
        units: name of the folder of units in it.
        min_samples: what an utterance must have.
        short: (n,) rows of utterances that have fewer.
        without: (n,) rows of utterances that have no units.
    """

    def __init__(
        self,
        utterances: Utterances,
        units: str,
        min_samples: int,
        short: np.ndarray,
        without: np.ndarray,
    ) -> None:
        self._source = utterances, units, min_samples
        self._short, self._without = short, without
        rows = np.concatenate([short, without])
        bare = np.arange(len(rows)) >= len(short)
        order = np.argsort(rows)
        items = _Items(*self._source, rows[order], bare[order])
        super().__init__(cast("Items", items))  # they are read, and none is added

    def counts(self) -> dict[tuple[str, str], int]:
        """{(what, kind): number of items}, the most frequent first."""
        kinds = (self._without, ("left out", "no units")), (self._short, ("filtered", "too short"))
        there = [(-len(rows), int(rows[0]), kind) for rows, kind in kinds if len(rows)]
        return {kind: -n for n, _, kind in sorted(there)}

    def refuse(self, name: str) -> None:
        """Stop a training for which nothing is left.

        Raises:
            Refused: always.
        """
        first = RowsLeftOut(*self._source, self._short[:MOST_SHOWN], self._without[:MOST_SHOWN])
        _Counted(list(first.items), self.counts()).check_share(0, 1.0, name)


class _Counted(Report):
    """Some items of many, with the numbers of all."""

    def __init__(self, items: list[Item], numbers: dict[tuple[str, str], int]) -> None:
        super().__init__(cast("Items", items))
        self._numbers = numbers

    def counts(self) -> dict[tuple[str, str], int]:
        return self._numbers
