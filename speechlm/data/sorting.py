"""Sorted lines of any number: several tables side by side, and sorting on disk."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TypeVar

from speechlm.data.disk import naming

_T = TypeVar("_T")
_HELD = 1 << 25  # bytes of lines that are sorted in memory; about three times as many are used


@contextmanager
def scratch(folder: Path) -> Iterator[IO[bytes]]:
    """A file without a name, for what would take too much memory; it is gone after the block.

    Args:
        folder: where there is room for it.

    Raises:
        CannotWrite: there is none.
    """
    with naming(folder), TemporaryFile(dir=folder) as file:
        yield file


def side_by_side(
    tables: Sequence[Iterable[tuple[str, _T]]],
) -> Iterator[tuple[str, list[_T | None]]]:
    """Join tables whose ids ascend.

    Args:
        tables: (id, value) of each.

    Yields:
        Each id once, in order, and its values in the tables, None where a table has not got it.
    """
    lines = [iter(table) for table in tables]
    heads = [next(line, None) for line in lines]
    while there := [head[0] for head in heads if head is not None]:
        first = min(there)
        values: list[_T | None] = [None] * len(heads)
        for place, head in enumerate(heads):
            if head is not None and head[0] == first:
                values[place] = head[1]
                heads[place] = next(lines[place], None)
        yield first, values


def sort_lines(
    lines: Iterable[bytes], folder: Path, key: Callable[[bytes], bytes]
) -> Iterator[bytes]:
    """Lines in the order of their keys, equal ones as they came, by scratch files.

    Args:
        lines: with line ends.
        folder: where there is room for as many bytes.
        key: of a line.

    Raises:
        CannotWrite: there is no room.
    """
    with ExitStack() as stack:
        runs: list[Iterable[bytes]] = []
        for held in _portions(lines):
            held.sort(key=key)
            file = stack.enter_context(scratch(folder))
            file.writelines(held)
            file.seek(0)
            runs.append(file)
            held.clear()
        yield from heapq.merge(*runs, key=key)


def _portions(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _HELD:
            yield held
            held, size = [], 0
    if held:
        yield held
