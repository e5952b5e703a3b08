"""Lines of text files, read in one way everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

BOM = b"\xef\xbb\xbf"
"""Byte order mark of UTF-8."""
_KINDS = {
    b"\x1f\x8b": "a gzip archive: unpack it",
    b"PK\x03\x04": "a zip archive: unpack it",
    b"BZh": "a bzip2 archive: unpack it",
    b"\xfd7zXZ": "an xz archive: unpack it",
    b"\xff\xfe": "UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8",
}
"""What a file that begins with these bytes is."""


def text_lines(path: str | os.PathLike[str]) -> Iterator[str]:
    """Lines of a UTF-8 text file, without their ends and without a byte order mark.

    Line feeds alone end lines, with or without a carriage return before them. What else Unicode
    calls a line end (U+2028, U+0085, vertical tab, ...) is white space within a line.

    Raises:
        ValueError: there is no such file, or it is no text: another encoding, packed, bytes of
            zero, or carriage returns alone as line ends; file and line are named.
    """
    if not os.path.exists(path) or Path(path).is_dir():
        what = "a folder" if os.path.exists(path) else "not there"
        raise ValueError(f"{path}: a text file expected, but it is {what}")
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            if number == 1:
                raw = raw.removeprefix(BOM)
            line = raw.removesuffix(b"\n").rstrip(b"\r")
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                reason = f"not UTF-8 ({error.reason}): save it as UTF-8"
                raise ValueError(_not_text(path, number, raw, reason)) from None
            if "\0" in text:
                raise ValueError(_not_text(path, number, raw, "a line with a byte of zero"))
            if "\r" in text:
                reason = "a line with a carriage return in it: end lines with line feeds"
                raise ValueError(_not_text(path, number, raw, reason))
            yield text


def _not_text(path: str | os.PathLike[str], number: int, raw: bytes, reason: str) -> str:
    kinds = (kind for start, kind in _KINDS.items() if number == 1 and raw.startswith(start))
    return f"{path}:{number}: plain text expected, but this is {next(kinds, reason)}"
