"""Plain-text corpora of any size, one sentence a line, with random access and next to no memory.

The text stays in its file. An index beside it (`<path>.idx`, 8 bytes a line) holds where each line
starts; it is made anew when it is missing or belongs to another version of the text. Both are read
at the places that are asked for: 40 M lines take page cache, but no memory of a process.
"""

from __future__ import annotations

import logging
import os
import stat
import struct
import tempfile
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import IO, Any, overload

import numpy as np

from speechlm.data.atomic import output_file
from speechlm.data.disk import CannotWrite
from speechlm.data.encoding import BOM, advice, refuse_wide, text_lines

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
        for _, line in text_lines(path):
            words = line.split()[skip:]
            if words:
                yield " ".join(words)


class TextCorpus:
    """The lines of a text file, by number.

    `len(corpus)`, `corpus[i] -> str` (as `text_lines` gives it; i may be negative or a slice),
    `corpus.lines(indices)`, iteration. An object can be pickled to another process, which opens the
    file anew.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder or a pipe, has no line, or is UTF-16; on access, a line that is
            not UTF-8, or a file that was made shorter since.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.is_file():
            refuse_wide(self.path)
        self._open()

    def _open(self) -> None:
        status = os.stat(self.path)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(
                f"{self.path}: a file expected, which is read at any place, not a folder or a pipe"
            )
        if not status.st_size:
            raise ValueError(f"{self.path} is empty: expected one sentence a line")
        # Read at places (pread) and not mapped: pages of a map count as memory of each process.
        self._text = FileIO(self.path)
        self._index = _open_index(self.path, status)
        self._n = _header(self._index)[3]

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
        index = int(index) % self._n
        entry = os.pread(self._index.fileno(), 16, 8 * (_HEADER + index))
        start, stop = struct.unpack("<QQ", entry)
        raw = os.pread(self._text.fileno(), stop - 1 - start, start)
        if len(raw) != stop - 1 - start:
            raise ValueError(f"{self.path} became shorter while it was read; start again")
        return self._decode(raw, index)

    def _decode(self, raw: bytes, index: int) -> str:
        raw = raw.rstrip(b"\r")
        if index == 0:
            raw = raw.removeprefix(BOM)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self.path}:{index + 1}: not UTF-8 ({error.reason} at byte {error.start} of the "
                f"line); {advice(self.path)}"
            ) from None

    def lines(self, indices: Iterable[int]) -> list[str]:
        """The lines with these numbers (0-based), in this order."""
        return [self[int(index)] for index in indices]

    def __iter__(self) -> Iterator[str]:
        with open(self.path, "rb") as stream:
            for index, raw in enumerate(stream):
                yield self._decode(raw.removesuffix(b"\n"), index)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._open()


def _open_index(path: Path, status: os.stat_result) -> IO[bytes]:
    """Header, starts of all lines, and one past the end of the last (as if it had a line end)."""
    index_path = Path(f"{path}.idx")
    if index := _stored_index(index_path, status):
        return index
    try:
        with output_file(index_path) as temporary, open(temporary, "wb") as stream:
            _build_index(path, status, stream)
    except CannotWrite as error:
        logging.warning("%s: the line index is made anew each time", error)
        index = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the corpus
        _build_index(path, status, index)
        return index
    if index := _stored_index(index_path, status):
        return index
    raise ValueError(f"{path} changed while its lines were counted; start again")


def _stored_index(index_path: Path, status: os.stat_result) -> IO[bytes] | None:
    """The stored index, or None if it is missing, cut short, or not of this version of the text."""
    try:
        index = FileIO(index_path)
    except FileNotFoundError:
        return None
    size_of_index = os.fstat(index.fileno()).st_size
    if size_of_index >= 8 * (_HEADER + 2):
        magic, size, mtime, n_lines = _header(index)
        of_this_text = (magic, size, mtime) == (_MAGIC, status.st_size, status.st_mtime_ns)
        if of_this_text and size_of_index == 8 * (_HEADER + n_lines + 1):
            return index
    index.close()
    return None


def _header(index: IO[bytes]) -> tuple[int, ...]:
    """Magic, size of the text in bytes, its mtime in ns, number of lines."""
    return struct.unpack(f"<{_HEADER}Q", os.pread(index.fileno(), 8 * _HEADER, 0))


def _build_index(path: Path, status: os.stat_result, stream: IO[bytes]) -> None:
    """Stream the text once, block by block, writing where each line starts."""
    # not by `tofile`, which loses what a full disk does not take without an error
    stream.write(bytes(8 * (_HEADER + 1)))
    n_lines, position, last = 0, 0, b""
    with open(path, "rb") as text:
        while block := text.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
            stream.write((ends + (position + 1)).astype(np.uint64).data)
            n_lines, position, last = n_lines + len(ends), position + len(block), block[-1:]
    if last != b"\n":
        stream.write(np.array([position + 1], np.uint64).data)
        n_lines += 1
    stream.seek(0)
    stream.write(np.array([_MAGIC, position, status.st_mtime_ns, n_lines], np.uint64).data)
    stream.flush()
