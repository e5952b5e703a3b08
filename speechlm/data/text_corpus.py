"""Plain-text corpora of any size, one sentence a line, with random access and next to no memory.

The text stays in its file and is read through a memory map. An index beside it (`<path>.idx`, 8
bytes a line, memory-mapped as well) holds where each line starts; it is made anew when it is
missing or belongs to another version of the text. So 40 M lines take address space and page cache,
but no memory of the process's own.
"""

from __future__ import annotations

import logging
import mmap
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np

from speechlm.data.atomic import output_file
from speechlm.data.lines import BOM, text_lines

_MAGIC = int.from_bytes(b"SLMTEXT1", "little")
_HEADER = 4  # uint64 words: magic, size of the text in bytes, its mtime in ns, number of lines
_BLOCK = 1 << 24


def id_columns(path: str | Path) -> int:
    """Columns before a line's words: 1 in Kaldi transcripts, which are named `text`, else 0."""
    return 1 if Path(path).name == "text" else 0


def read_sentences(paths: Iterable[str | Path]) -> Iterator[str]:
    """Non-empty lines of plain texts and Kaldi transcripts (named `text`), without ids.

    Words are separated by single blanks, whatever white space was between them.

    Raises:
        ValueError: as `text_lines`.
    """
    for path in paths:
        skip = id_columns(path)
        for line in text_lines(path):
            words = line.split()[skip:]
            if words:
                yield " ".join(words)


class TextCorpus:
    """The lines of a text file, by number.

    `len(corpus)`, `corpus[i] -> str` (as `text_lines` gives it; i may be negative or a slice),
    `corpus.lines(indices)`, iteration, `corpus.sizes(start, stop)`. An object can be pickled to
    another process, which opens the file anew.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder or a pipe, or has no line; on access, a line that is not UTF-8.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._open()

    def _open(self) -> None:
        status = os.stat(self.path)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(
                f"{self.path}: a file expected, which is read at any place, not a folder or a pipe"
            )
        if not status.st_size:
            raise ValueError(f"{self.path} is empty: expected one sentence a line")
        with open(self.path, "rb") as stream:
            self._text = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._starts = _load_index(self.path, status)
        self._n = len(self._starts) - 1

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return self.lines(range(*index.indices(self._n)))
        if not -self._n <= index < self._n:
            raise IndexError(f"line {index} of {self.path}, which has {self._n} lines")
        return self._line(int(index) % self._n)

    def _line(self, index: int) -> str:
        raw = self._text[int(self._starts[index]) : int(self._starts[index + 1]) - 1]
        raw = raw.rstrip(b"\r")
        if index == 0:
            raw = raw.removeprefix(BOM)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self.path}:{index + 1}: not UTF-8 ({error.reason} at byte {error.start} of the "
                "line); convert the file to UTF-8 and normalise it"
            ) from None

    def lines(self, indices: Iterable[int]) -> list[str]:
        """The lines with these numbers (0-based), in this order."""
        return [self[int(index)] for index in indices]

    def __iter__(self) -> Iterator[str]:
        return (self._line(index) for index in range(self._n))

    def sizes(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Bytes of lines start .. stop - 1 without their line ends, int64: a cheap length."""
        stop = self._n if stop is None else stop
        return np.diff(self._starts[start : stop + 1].astype(np.int64)) - 1

    def sizes_of(self, lines: np.ndarray) -> np.ndarray:
        """The same for lines by number, (n,) each; only the pages of the index needed are read."""
        return (self._starts[lines + 1] - self._starts[lines]).astype(np.int64) - 1

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._open()


def _load_index(path: Path, status: os.stat_result) -> np.ndarray:
    """Starts of all lines and one past the end of the last (as if it had a line end): uint64."""
    index_path = Path(f"{path}.idx")
    index = _read_index(index_path, status)
    if index is not None:
        return index
    try:
        with output_file(index_path) as temporary, open(temporary, "wb") as stream:
            _build_index(path, status, stream)
    except PermissionError:
        logging.warning("%s cannot be written: the line index is made anew each time", index_path)
        return _temporary_index(path, status)
    index = _read_index(index_path, status)
    if index is None:
        raise ValueError(f"{path} changed while its lines were counted; start again")
    return index


def _temporary_index(path: Path, status: os.stat_result) -> np.ndarray:
    """The index in an unnamed temporary file, for texts in folders that cannot be written."""
    with tempfile.TemporaryFile() as stream:
        _build_index(path, status, stream)
        return np.memmap(stream, np.uint64, "r").view(np.ndarray)[_HEADER:]


def _read_index(index_path: Path, status: os.stat_result) -> np.ndarray | None:
    """The stored index, or None if it is missing, cut short, or not of this version of the text."""
    size_of_index = os.path.getsize(index_path) if index_path.exists() else 0
    if size_of_index < 8 * (_HEADER + 2) or size_of_index % 8:
        return None
    words = np.memmap(index_path, np.uint64, "r").view(np.ndarray)
    magic, size, mtime, n_lines = (int(word) for word in words[:_HEADER])
    if (magic, size, mtime) != (_MAGIC, status.st_size, status.st_mtime_ns):
        return None
    return words[_HEADER:] if len(words) == _HEADER + n_lines + 1 else None


def _build_index(path: Path, status: os.stat_result, stream: BinaryIO) -> None:
    """Stream the text once, block by block, writing where each line starts."""
    np.zeros(_HEADER + 1, np.uint64).tofile(stream)
    n_lines, position, last = 0, 0, b""
    with open(path, "rb") as text:
        while block := text.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
            (ends + (position + 1)).astype(np.uint64).tofile(stream)
            n_lines, position, last = n_lines + len(ends), position + len(block), block[-1:]
    if last != b"\n":
        np.array([position + 1], np.uint64).tofile(stream)
        n_lines += 1
    stream.seek(0)
    np.array([_MAGIC, position, status.st_mtime_ns, n_lines], np.uint64).tofile(stream)
    stream.flush()
