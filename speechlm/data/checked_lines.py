"""Tables that may be wrong, a line at a time in the order of ids; what is wrong is reported."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from speechlm.data.report import Report, tidy_lines
from speechlm.data.sorting import sort_lines
from speechlm.data.table_blocks import table_blocks

Entry = tuple[str | None, bool]
"""The value of an id in a table, None if no line could be read, and whether the id is wrong."""


def checked_lines(
    path: Path, report: Report, room: Path, empty: bool = False
) -> Iterator[tuple[str, Entry]]:
    """(id, entry) of a table in the order of ids, each id once; as `read_table` for what is right.

    Put right are blank and repeated lines, CR LF, byte order marks, and the order, for which the
    lines are sorted on disk. Wrong are ids with two different values or without one, and lines that
    are no UTF-8 text.

    Args:
        path: the table.
        report: where to note what is wrong or was put right.
        room: folder with room for the lines of the table.
        empty: whether values may be empty.

    Raises:
        ValueError: the table is not there, damaged, or changes while it is read.
    """
    if not path.is_file():
        raise ValueError(f"{path} expected, but it is not there")
    return _right(path) if _is_right(path, empty) else _sorted(path, report, room, empty)


def _is_right(path: Path, empty: bool) -> bool:
    try:
        deque(table_blocks(path, empty), 0)
    except ValueError:
        return False
    return True


def _right(path: Path) -> Iterator[tuple[str, Entry]]:
    last = ""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            key, *value = line.split(maxsplit=1)
            if key <= last:
                raise ValueError(f"{path} changed while it was read; start again")
            yield key, (value[0].rstrip() if value else "", False)
            last = key


def _sorted(path: Path, report: Report, room: Path, empty: bool) -> Iterator[tuple[str, Entry]]:
    n_unsorted = last = 0
    ordered = sort_lines(_Numbered(path, report).lines(), room, _key)
    for key, group in groupby(ordered, _key):
        lines = [_Line.read(line) for line in group]
        yield key.decode(), _entry(key.decode(), lines, path, report, empty)
        if there := [line.number for line in lines if line.value is not None]:
            n_unsorted += there[0] < last
            last = there[0]
    if n_unsorted:
        report.sort("table", path, f"{n_unsorted} lines were out of order")


class _Line(NamedTuple):
    """A line of a table: its number, and its value, None if it is no text."""

    number: int
    value: str | None

    @classmethod
    def read(cls, line: bytes) -> _Line:
        """Read what `_Numbered` gives."""
        _, number, *value = line[:-1].decode().split(" ", 2)
        return cls(int(number), value[0] if value else None)


class _Numbered:
    """The lines of a table, as `id number value`, or `id number` if they are no text."""

    def __init__(self, path: Path, report: Report) -> None:
        self._path, self._report = path, report
        self._foreign: list[tuple[int, str]] = []

    def lines(self) -> Iterator[bytes]:
        for number, line in tidy_lines(self._path, self._report, self._no_text):
            yield from self._held_back()
            key, *value = line.split(maxsplit=1)
            yield f"{key} {number} {''.join(value).strip()}\n".encode()
        yield from self._held_back()

    def _no_text(self, number: int, raw: bytes) -> str:
        self._foreign.append((number, raw.split(maxsplit=1)[0].decode(errors="replace")))
        return self._foreign[-1][1]

    def _held_back(self) -> Iterator[bytes]:
        yield from (f"{key} {number}\n".encode() for number, key in self._foreign)
        self._foreign.clear()


def _key(line: bytes) -> bytes:
    return line.partition(b" ")[0]


def _entry(key: str, lines: Sequence[_Line], path: Path, report: Report, empty: bool) -> Entry:
    """What several lines of one id say; those that are no text are reported already."""
    first: str | None = None
    wrong = False
    for number, value in lines:
        if value is None:
            wrong = True
        elif first is None:
            first = value
            if not first and not empty:
                report.leave_out("id without a value", key, path, f"line {number}")
                wrong = True
        elif value == first:
            report.fix("repeated line", key, path, f"line {number}")
        else:
            report.leave_out("duplicate id", key, path, f"line {number} has another value")
            wrong = True
    return first, wrong
