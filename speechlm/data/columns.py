"""Columns of numbers in one file, which processes map and share: indices of large tables.

A file holds the columns one behind the other, each from a multiple of 64 bytes on, then a
description in JSON, then its length in bytes (uint64) and 8 bytes of magic. The description says
of which files the columns were made, with their sizes and times: those of other versions are made
anew.
"""

from __future__ import annotations

import fcntl
import json
import logging
import mmap
import os
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from speechlm.data.atomic import output_file
from speechlm.data.disk import CannotWrite

_MAGIC = b"SLMCOLS1"
_END = struct.Struct("<Q8s")
_ALIGNED = 64  # bytes
_ROWS = 1 << 20  # that are read at a time
Kinds = Mapping[str, str]
"""numpy's types of the columns, by name."""
State = dict[str, list[int]]
"""[size in bytes, mtime in ns] of files, by name."""


def state_of(files: Mapping[str, str | os.PathLike[str]]) -> State:
    """What tells these versions of the files from others.

    Raises:
        OSError: one is not there.
    """
    found = {name: os.stat(path) for name, path in files.items()}
    return {name: [status.st_size, status.st_mtime_ns] for name, status in found.items()}


def portions(n: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of rows 0 .. n - 1, a million at a time."""
    for start in range(0, n, _ROWS):
        yield start, min(start + _ROWS, n)


class Columns:
    """An open file of columns.

    `columns[name]` is a whole column, (n,), mapped: it is read where it is touched, from memory
    that all processes of a machine share.

    Attributes: `sources`, the versions of the files of which it was made; `note`, what else its
    maker has written down.

    Args:
        file: open for reading; it stays open.

    Raises:
        ValueError: it is no such file, or is cut short.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        size = os.fstat(file.fileno()).st_size
        end = os.pread(file.fileno(), _END.size, max(0, size - _END.size))
        length, magic = _END.unpack(end.rjust(_END.size, b"\0"))
        place = size - _END.size - length
        if magic != _MAGIC or place < 0:
            raise ValueError("no file of columns")
        try:
            about = json.loads(os.pread(file.fileno(), length, place))
        except RecursionError:
            raise ValueError("no description of columns") from None
        self._n: int = about["rows"]
        self._kinds = {name: np.dtype(kind) for name, kind in about["kinds"].items()}
        self.sources: State = about["sources"]
        self.note: dict[str, Any] = about["note"]
        self._places, stop = _layout(self._n, self._kinds)
        if stop != place:
            raise ValueError("cut short")
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return self._n

    def __contains__(self, name: str) -> bool:
        return name in self._kinds

    def __getitem__(self, name: str) -> np.ndarray:
        return np.frombuffer(self._map, self._kinds[name], self._n, self._places[name])

    def value(self, name: str, row: int) -> int:
        """A value of a column, read and not mapped: the pages around it do not stay in memory."""
        return int(self.read(name, row, row + 1)[0])

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows start .. stop - 1 of a column, read and not mapped: they do not stay in memory."""
        kind = self._kinds[name]
        place = self._places[name] + start * kind.itemsize
        read = os.pread(self._file.fileno(), (stop - start) * kind.itemsize, place)
        return np.frombuffer(read, kind)


def write_columns(
    file: IO[bytes],
    n: int,
    kinds: Kinds,
    rows: Iterable[Mapping[str, np.ndarray]],
    sources: State,
    note: Mapping[str, Any] | None = None,
) -> None:
    """Write columns of n rows.

    Args:
        file: open for writing, and empty.
        n: number of rows.
        kinds: of the columns.
        rows: some rows of all columns at a time.
        sources: versions of the files of which the columns are made, from before they were read.
        note: values for JSON, which `rows` may fill.

    Raises:
        ValueError: the rows are not n.
    """
    types = {name: np.dtype(kind) for name, kind in kinds.items()}
    places, end = _layout(n, types)
    done = 0
    for block in rows:
        for name, kind in types.items():
            file.seek(places[name] + done * kind.itemsize)
            file.write(np.asarray(block[name]).astype(kind).tobytes())
        done += len(block[next(iter(types))])
    if done != n:
        raise ValueError(f"{', '.join(sources)}: {n} lines expected, {done} read; start again")
    about = {"rows": n, "kinds": dict(kinds), "sources": sources, "note": dict(note or {})}
    text = json.dumps(about).encode()
    file.seek(end)
    file.write(text + _END.pack(len(text), _MAGIC))
    file.flush()


def open_columns(path: Path, sources: State) -> Columns | None:
    """The columns of a file; None if it is not there, damaged, or not of these sources."""
    try:
        found = Columns(FileIO(path))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if found.sources == sources else None


def stored_or_made(
    path: Path,
    open_stored: Callable[[Path], Columns | None],
    make: Callable[[IO[bytes]], None],
    beside: Path,
) -> Columns:
    """The columns of a file, which is made if it is not there or of no use.

    Of several processes that need it at once, one makes it. Where it cannot be written (the folder
    is read-only, the disk full) it is made anew each time, in a temporary file.

    Args:
        path: the file.
        open_stored: opens it, or says None if it must be made.
        make: writes it.
        beside: a file that is there; those who make the columns hold a lock on it.

    Raises:
        ValueError: `make` does, or the sources have changed meanwhile.
    """
    if stored := open_stored(path):
        return stored
    with turn(beside):
        if stored := open_stored(path):
            return stored
        logging.info("%s is made, which is done once", path)
        try:
            with output_file(path) as name, name.open("wb") as file:
                make(file)
        except CannotWrite as error:
            logging.warning("%s: it is made anew each time", error)
            temporary = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the columns
            make(temporary)
            return Columns(temporary)
    if stored := open_stored(path):
        return stored
    raise ValueError(f"{beside} or what belongs to it changed while it was read; start again")


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """A block that one process at a time is in, by a lock on a file, which ends with the process.

    Where the file system has no locks, several may be in it.
    """
    with path.open("rb") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _layout(n: int, kinds: Mapping[str, np.dtype]) -> tuple[dict[str, int], int]:
    """Where the columns start, and where the last one ends."""
    places, end = {}, 0
    for name, kind in kinds.items():
        places[name] = -(-end // _ALIGNED) * _ALIGNED
        end = places[name] + n * kind.itemsize
    return places, end
