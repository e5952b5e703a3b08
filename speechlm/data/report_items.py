"""The items of a report, of which there may be as many as a corpus has utterances."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, overload

_HELD = 10_000  # items that are in memory
_BLOCK = 1 << 20  # bytes that are read at a time


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a report; no field has tabs or line ends."""

    what: str
    """left out (wrong), filtered (sound, but not wanted), fixed (wrong, put right), noted (odd, but
    no utterance is lost) or sorted."""
    kind: str
    utterance: str
    path: str
    detail: str

    def __str__(self) -> str:
        """The line, without its end."""
        return f"{self.what}\t{self.kind}\t{self.utterance}\t{self.path}\t{self.detail}"


class Items(Sequence[Item]):
    """Items in their order: the last ones in memory, those before in a file without a name."""

    def __init__(self) -> None:
        self._last: list[Item] = []
        self._n_stored = 0
        self._file: IO[bytes] | None = None

    def append(self, item: Item) -> None:
        """Add one."""
        self._last.append(item)
        if len(self._last) == _HELD:
            self._file = self._file or TemporaryFile()  # noqa: SIM115 - lives as long as this
            self._file.write("".join(f"{item}\n" for item in self._last).encode())
            self._file.flush()
            self._n_stored += len(self._last)
            self._last = []

    def __iadd__(self, items: Iterable[Item]) -> Items:
        for item in items:
            self.append(item)
        return self

    def __len__(self) -> int:
        return self._n_stored + len(self._last)

    def __iter__(self) -> Iterator[Item]:
        at, rest = 0, b""
        while self._file and (read := os.pread(self._file.fileno(), _BLOCK, at)):
            at += len(read)
            *lines, rest = (rest + read).split(b"\n")
            yield from (Item(*line.decode().split("\t")) for line in lines)
        yield from self._last

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        places = range(len(self))[index]
        if isinstance(places, int):
            return next(islice(self, places, None))
        return list(islice(self, places.start, places.stop, places.step))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)
