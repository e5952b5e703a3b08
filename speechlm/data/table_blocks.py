"""Kaldi tables of any size, some ten thousand lines at a time, as arrays.

A line is `id value`. Lines are cut up by numpy where they are written as this project writes them,
else one by one; what is wrong in a table is said by `table_lines` in either case.
"""

from __future__ import annotations

import heapq
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np

from speechlm.data.encoding import not_utf8, refuse_wide
from speechlm.data.kaldi_dir import MOST_DIGITS, MOST_SHOWN, parse_line, show_ids, table_lines
from speechlm.data.sorting import side_by_side

_BLOCK = 1 << 22  # bytes that are read at a time
_WIDEST = 4096  # bytes of an id or a value; arrays of longer ones would fill the memory
_ODD = re.compile(r"[^\S \n]|\ufeff")  # white space but for blanks and line ends, byte order marks


@dataclass(frozen=True)
class TableBlock:
    """Lines of a table that follow each other, n of them.

    Attributes: `file`, the table; `text` (bytes,) uint8, the lines as `id value`, ended by line
    feeds; `at` (n,) int64, where each starts in the file; `starts`, `blanks`, `stops` (n,) int64,
    where in `text` its id starts, the blank behind that stands, and the line ends.
    """

    file: Path
    text: np.ndarray
    at: np.ndarray
    starts: np.ndarray
    blanks: np.ndarray
    stops: np.ndarray

    def __len__(self) -> int:
        return len(self.at)

    @cached_property
    def ids(self) -> np.ndarray:
        """(n,) bytes in UTF-8, which sort as the C locale sorts."""
        return cut_out(self.file, self.text, self.starts, self.blanks)

    @property
    def values(self) -> np.ndarray:
        """(n,) bytes in UTF-8."""
        return cut_out(self.file, self.text, self.blanks + 1, self.stops)


def table_blocks(path: str | os.PathLike[str], empty: bool = False) -> Iterator[TableBlock]:
    """The lines of a table, which are sorted by ids in the C locale, without duplicates.

    Args:
        path: the table.
        empty: whether values may be empty; the blank before such a value stands.

    Raises:
        ValueError: as `read_table`.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{file} expected, but it is not there")
    refuse_wide(file)
    last = np.array([b""])
    for number, at, lines in _whole_lines(file):
        block = _cut_up(lines, file, number, at, empty)
        before = np.concatenate([last, block.ids[:-1]])
        if not (before < block.ids).all():
            deque(table_lines(file, empty), 0)  # says what is wrong
            raise AssertionError(f"{file}: out of order, but all its lines have been read")
        last = block.ids[-1:]
        yield block


def has_command(block: TableBlock) -> bool:
    """Whether a value is a command, which this project never runs, and no path."""
    edges = np.concatenate([block.text[block.blanks + 1], block.text[block.stops - 1]])
    return bool((edges == ord("|")).any())


def count_lines(path: str | os.PathLike[str]) -> int:
    """Lines of a file, whether or not the last one has an end."""
    count, last = 0, b"\n"
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")


def merge_tables(parts: Sequence[Path], file: IO[bytes]) -> int:
    """Write one sorted table of several; returns the number of lines.

    Raises:
        ValueError: a table is wrong, or an id is in two of them.
    """
    n, spans = 0, []
    for part in parts:
        ends = [(block.ids[0], block.ids[-1], len(block)) for block in table_blocks(part)]
        if ends:
            spans.append((ends[0][0], ends[-1][1], part))
            n += sum(count for *_, count in ends)
    spans.sort()
    if all(last < first for (_, last, _), (first, *_) in pairwise(spans)):  # one behind the other
        for *_, part in spans:
            for block in table_blocks(part):
                file.write(block.text.tobytes())
        return n
    before = b""
    for key, line in heapq.merge(*(_lines(part) for part in parts)):
        if key == before:
            raise _in_two(parts)
        file.write(line)
        before = key
    return n


def _lines(part: Path) -> Iterator[tuple[bytes, bytes]]:
    """(id, line) of all lines."""
    for block in table_blocks(part):
        lines = block.text.tobytes().splitlines(keepends=True)
        yield from zip(block.ids.tolist(), lines, strict=True)


def _in_two(parts: Sequence[Path]) -> ValueError:
    """The error for ids that are in two tables, of the first table that has some."""
    double: list[list[str]] = [[] for _ in parts]
    counts = [0] * len(parts)
    for key, places in side_by_side([_places(part, n) for n, part in enumerate(parts)]):
        for place in [place for place in places if place is not None][1:]:
            counts[place] += 1
            double[place] += [key] if counts[place] <= MOST_SHOWN else []
    for part, shown, count in zip(parts, double, counts, strict=True):
        if count:
            return ValueError(f"{part}: ids that another job has too: {show_ids(shown, count)}")
    raise AssertionError(f"{parts}: no id is in two of them")


def _places(part: Path, place: int) -> Iterator[tuple[str, int]]:
    """(id, number of the table) of all lines."""
    return ((key, place) for key, _ in table_lines(part))


def cut_out(file: Path, text: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Bytes starts..stops of a text, uint8, from a file: (n,) of numpy's type S.

    Raises:
        ValueError: some are very long.
    """
    lengths = stops - starts
    width = int(lengths.max(initial=1))
    if width > _WIDEST:
        longest = int(lengths.argmax())
        shown = text[starts[longest] : starts[longest] + 60].tobytes().decode(errors="replace")
        raise ValueError(
            f"{file}: ids and paths of {_WIDEST} bytes at most expected, but there are {width} from"
            f" {shown!r} on"
        )
    # (n, width) places in the text; what is behind a row's end becomes zeros, which S ignores
    columns = np.arange(width, dtype=np.int32)
    places = np.minimum(starts.astype(np.int32)[:, None] + columns, len(text) - 1)
    rows = text[places]
    rows[columns >= lengths[:, None]] = 0
    return rows.view(f"S{width}")[:, 0]


def numbers(text: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Whole numbers that are written in a text: (n,) int64, -1 for what is no such number."""
    lengths = stops - starts
    width = int(min(max(lengths.max(initial=1), 1), MOST_DIGITS))
    # (n, width) digits, the last of a number in the last column, zeros before the first
    places = stops[:, None] - np.arange(width, 0, -1)
    digits = text[np.maximum(places, 0)] - np.uint8(ord("0"))
    digits[places < starts[:, None]] = 0
    value = digits @ 10 ** np.arange(width - 1, -1, -1)
    right = (digits <= 9).all(1) & (lengths > 0) & (lengths <= MOST_DIGITS)
    return np.where(right, value, -1)


def _whole_lines(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """(number of the first line, where it starts in the file, lines with line ends)."""
    number, at, rest = 1, 0, b""
    with file.open("rb") as stream:
        while read := stream.read(_BLOCK):
            read = rest + read
            end = read.rfind(b"\n") + 1
            lines, rest = read[:end], read[end:]
            if lines:
                yield number, at, lines
                number, at = number + lines.count(b"\n"), at + len(lines)
    if rest:
        yield number, at, rest + b"\n"


def _cut_up(lines: bytes, file: Path, number: int, at: int, empty: bool) -> TableBlock:
    text = np.frombuffer(lines, np.uint8)
    stops = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate([[0], stops[:-1] + 1])
    blanks = _first_blanks(text, starts)
    if _is_plain(lines, text, starts, blanks, stops):
        return TableBlock(file, text, at + starts, starts, blanks, stops)
    tidy = np.frombuffer(_tidied(lines, file, number, empty), np.uint8)
    ends = np.flatnonzero(tidy == ord("\n"))
    first = np.concatenate([[0], ends[:-1] + 1])
    return TableBlock(file, tidy, at + starts, first, _first_blanks(tidy, first), ends)


def _first_blanks(text: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Where the first blank behind each start is; the end of the text, if there is none."""
    blanks = np.append(np.flatnonzero(text == ord(" ")), len(text))
    return blanks[np.searchsorted(blanks, starts)]


def _is_plain(
    lines: bytes, text: np.ndarray, starts: np.ndarray, blanks: np.ndarray, stops: np.ndarray
) -> bool:
    """Whether all lines are an id, one blank and a value, without other white space around them."""
    if np.count_nonzero(text < ord(" ")) != len(stops):
        return False
    if not ((blanks > starts) & (blanks + 1 < stops)).all():
        return False
    if (text[blanks + 1] == ord(" ")).any() or (text[stops - 1] == ord(" ")).any():
        return False
    try:
        return lines.isascii() or not _ODD.search(lines.decode())
    except UnicodeDecodeError:
        return False


def _tidied(lines: bytes, file: Path, number: int, empty: bool) -> bytes:
    """The same lines with one blank behind the id and none elsewhere around the value."""
    tidy = []
    for place, line in enumerate(lines.split(b"\n")[:-1]):
        try:
            text = f"{line.decode()}\n"
        except UnicodeDecodeError:
            raise not_utf8(file) from None
        tidy.append(" ".join(parse_line(text, f"{file}:{number + place}", empty)))
    return "".join(f"{line}\n" for line in tidy).encode()
