"""Opening text of unknown origin: UTF-8 is read, other encodings are named, lines have a limit."""

from __future__ import annotations

import gzip
import os
import shlex
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, TextIO

from speechlm.progress import Progress

_HEAD = 4096  # bytes that are looked at for the encoding
_LARGE = 16_000_000  # bytes of a file that takes long to read
_LONGEST = 1 << 26  # bytes of a line; a small packed file may hold one that takes all memory
_LINES = 1024  # after so many the place in it is looked at
BOM = b"\xef\xbb\xbf"
"""Byte order mark of UTF-8."""
NO_FILE = "a pipe or a device; a file is expected, which can be read from its start again"
"""What is wrong with a path that is there, but neither a file nor a folder."""
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


@contextmanager
def unpacking(path: str | os.PathLike[str]) -> Iterator[None]:
    """A block that reads a file which may be packed by gzip.

    Raises:
        ValueError: it cannot be unpacked.
    """
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked ({error})") from None


def open_text(path: str | os.PathLike[str]) -> TextIO:
    """Open a text, plain or .gz, for reading; any line ends, a byte order mark is skipped.

    Bytes that are not UTF-8 are read as lone surrogates, see `is_utf8`. Who reads does it in an
    `unpacking` block.

    Raises:
        ValueError: there is no such file, it cannot be unpacked, or it is UTF-16 or UTF-32.
    """
    refuse_wide(path)
    if Path(path).suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape")
    return Path(path).open(encoding="utf-8-sig", errors="surrogateescape")


@contextmanager
def reading_progress(path: str | os.PathLike[str], file: Any) -> Iterator[Callable[[], None]]:
    """A function to call while a file is read, now and then: it shows how much was, of large ones.

    Args:
        path: of the file.
        file: as `open_text`, `open` or `gzip.open` opens it.
    """
    size = os.path.getsize(path)
    if size < _LARGE:
        yield lambda: None
        return
    inner = getattr(file, "buffer", file)  # of a text
    inner = getattr(inner, "fileobj", inner)  # of what is packed
    with Progress(f"MB of {Path(path).name}", size / 1e6) as shown:
        yield lambda: shown.reach(inner.tell() / 1e6)


def text_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 text, plain or .gz, without their ends and a byte order mark.

    Line feeds alone end lines, with or without a carriage return before them. What else Unicode
    calls a line end (U+2028, U+0085, vertical tab, ...) is white space within a line.

    Raises:
        ValueError: as `open_text`; or a line is no text: other bytes than UTF-8, a packed file,
            bytes of zero, carriage returns alone as line ends, or more than 64 MiB. File and line
            are named.
    """
    refuse_wide(path)
    with unpacking(path), _open_bytes(path) as file, reading_progress(path, file) as read:
        for number, raw in enumerate(iter(partial(file.readline, _LONGEST + 1), b""), 1):
            if number % _LINES == 0:
                read()
            yield number, _text(path, number, raw.removeprefix(BOM) if number == 1 else raw)


def _text(path: str | os.PathLike[str], number: int, raw: bytes) -> str:
    if len(raw) > _LONGEST:
        raise ValueError(
            f"{path}:{number}: a line of text expected, but it has more than {_LONGEST >> 20} MiB"
        )
    line = raw.removesuffix(b"\n").rstrip(b"\r")
    packed = next((kind for start, kind in _PACKED.items() if raw.startswith(start)), "")
    if number == 1 and packed:
        raise ValueError(f"{path}: UTF-8 text expected, but this is a {packed} archive; unpack it")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise _other_bytes(path, number) from None
    if odd := odd_character(text):
        raise ValueError(
            f"{path}:{number}: a line of text expected, but there is a {odd} in it; save the file "
            "as UTF-8 with line feeds as line ends"
        )
    return text


def odd_character(line: str) -> str:
    """What a line has that no line of text has; an empty string if it has nothing such."""
    return "byte of zero" if "\0" in line else "carriage return" if "\r" in line else ""


def _open_bytes(path: str | os.PathLike[str]) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if Path(path).suffix == ".gz" else Path(path).open("rb")


def not_utf8(path: str | os.PathLike[str]) -> ValueError:
    """The error for a file in which something was no UTF-8: names the first such line."""
    with open_text(path) as file:
        number = next((n for n, line in enumerate(file, 1) if not is_utf8(line)), 1)
    return _other_bytes(path, number)


def _other_bytes(path: str | os.PathLike[str], number: int) -> ValueError:
    return ValueError(f"{path}:{number}: UTF-8 text expected, found other bytes; {advice(path)}")


def is_utf8(line: str) -> bool:
    """Whether a line that `open_text` has read has no bytes other than UTF-8."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_wide(path: str | os.PathLike[str]) -> None:
    """Look at the start of a file, plain or .gz, that should be UTF-8.

    Raises:
        ValueError: it is not there, cannot be unpacked, or is UTF-16 or UTF-32, with or without a
            byte order mark.
    """
    if not os.path.exists(path) or os.path.isdir(path):
        what = "a folder" if os.path.isdir(path) else "not there"
        raise ValueError(f"text file expected, but {path} is {what}")
    if not os.path.isfile(path):  # it would be opened again, without the part that was looked at
        raise ValueError(f"{path} is {NO_FILE}")
    with unpacking(path), _open_bytes(path) as file:
        head = file.read(_HEAD)
    name = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "")
    if not name and b"\0" in head:
        # Latin letters of UTF-16 have a zero byte each: the second (LE) or the first of two (BE).
        first, second = head[::2].count(0), head[1::2].count(0)
        if max(first, second) > 0.15 * len(head) and min(first, second) < 0.1 * max(first, second):
            name = "UTF-16LE" if second > first else "UTF-16BE"
    if name:
        raise ValueError(f"{path}: UTF-8 text expected, but this is {name}; {advice(path, name)}")


def advice(path: str | os.PathLike[str], encoding: str = "") -> str:
    """Say which command converts a file to UTF-8."""
    old = shlex.quote(str(path))
    example = "" if encoding else " (ENCODING: such as WINDOWS-1252)"
    return f"convert it: iconv -f {encoding or 'ENCODING'} -t UTF-8 {old} > NEW{example}"
