"""Paragraphs of prose from raw text files, Project Gutenberg's in particular.

Project Gutenberg's header, licence and credits, tables of contents, chapter headings,
illustrations and separators are left out and reported.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

_LOOK_AHEAD = 1000  # lines that are looked at for the kind of a file and the start of a book
_START = re.compile(r"\*\*\*\s*START OF|\*END\*\s*THE SMALL PRINT", re.IGNORECASE)
_END = re.compile(
    r"\*\*\*\s*END OF|^\s*\**\s*End of (?:the |this )?Project Gutenberg", re.IGNORECASE
)
_CREDITS = re.compile(
    r"Project Gutenberg|Gutenberg-tm|Distributed Proofread|^(?:Produced|E-?text prepared) by\b"
    r"|^Transcribe[rd]\b|https?://|\bwww\.|@\w+\.\w|All rights reserved|^Copyright\b"
    r"|\b(?:1[26]|8)\s?mo\b|ISBN",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"(?:THE )?(?:CHAPTER|CHAP\.|BOOK|VOLUME|VOL\.|PART|ACT|SCENE|CANTO|SECTION|EPOCH|STAVE|LETTER)"
    r"\s+(?:THE\s+)?(?:[IVXLC]+\b|\d+\b|ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE|TEN|FIRST"
    r"|SECOND|THIRD|FOURTH|FIFTH|LAST)[^a-z]*(?:$|[.:\-])",
    re.IGNORECASE,
)
_NUMERAL = re.compile(r"\W*(?:[IVXLC]+|\d+)\W*")
_TABLE = re.compile(r"\S(?:\s{2,}|\s*\.{3,}\s*|\s)\$?\s?[\d.]*\d\s*$")
_CLOSING = re.compile(r"\W*(?:THE END|FINIS|CONTENTS|INDEX|FOOTNOTES|ILLUSTRATIONS|THE)\W*", re.I)


@dataclass(frozen=True)
class Paragraph:
    """Raw text with its place in the file; `reason` says why it is to be dropped."""

    text: str
    line: int
    reason: str = ""
    is_line: bool = False
    """From a file with one sentence a line."""


def read_paragraphs(path: str | os.PathLike[str], kind: str = "auto") -> Iterator[Paragraph]:
    """Stream a text file, plain or .gz. Lines that are not UTF-8 are taken as Windows-1252.

    kind `book`: paragraphs are separated by blank lines; `lines`: every line is a paragraph of
    its own; `auto`: `book` if there is a blank line among the first 1,000.
    """
    if kind not in ("auto", "book", "lines"):
        raise ValueError(f"one of auto, book, lines expected, got {kind}")
    if not Path(path).is_file():
        raise ValueError(f"text file expected, but {path} is not there")
    try:
        if kind == "auto":
            with _open(path) as file:
                kind = "book" if any(not x.strip() for x in islice(file, _LOOK_AHEAD)) else "lines"
        yield from _read(path, kind)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked ({error})") from None


def _read(path: str | os.PathLike[str], kind: str) -> Iterator[Paragraph]:
    numbered = _numbered_lines(path)
    if kind == "lines":
        for number, line in numbered:
            if line.strip():
                yield Paragraph(line.strip(), number, is_line=True)
    else:
        yield from _book(numbered)


def _open(path: str | os.PathLike[str]) -> gzip.GzipFile | BinaryIO:
    return gzip.open(path) if Path(path).suffix == ".gz" else Path(path).open("rb")


def _numbered_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    with _open(path) as file:
        for number, raw in enumerate(file, 1):
            if b"\0" in raw:
                raise ValueError(f"{path}:{number}: text expected, found binary data")
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                line = raw.decode("cp1252", errors="replace")
            yield number, line.rstrip("\r\n")


def _book(lines: Iterator[tuple[int, str]]) -> Iterator[Paragraph]:
    """Paragraphs of a book, or of several in one file, without what surrounds them."""
    head = list(islice(lines, _LOOK_AHEAD))
    inside = not any(_START.search(line) for _, line in head)
    block: list[str] = []
    first = 0
    for number, line in _chain(head, lines):
        start, end = _START.search(line), _END.search(line)
        if line.strip() and not start and not end:
            first = first or number
            block.append(line)
            continue
        if block:
            yield _judged(block, first, inside)
        block, first = [], 0
        inside = (inside or bool(start)) and not end
    if block:
        yield _judged(block, first, inside)


def _chain(
    head: list[tuple[int, str]], rest: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    yield from head
    yield from rest


def _judged(block: list[str], line: int, inside: bool) -> Paragraph:
    """The paragraph with the reason to drop it, if there is one."""
    text = _join(block)
    return Paragraph(text, line, "around the book" if not inside else _reason(block, text))


def _reason(block: list[str], text: str) -> str:
    if not re.search(r"[^\W\d_]{2}|\b[AIO]\b", re.sub(r"\[Illustration[^\]]*\]", "", text)):
        return "no words"
    if _CREDITS.search(text):
        return "credits"
    if _HEADING.match(text) and len(block) <= 3 and len(text.split()) < 20:
        return "heading"
    if _NUMERAL.fullmatch(text) and text.strip(". ") != "I" or _CLOSING.fullmatch(text):
        return "heading"
    rows = sum(bool(_TABLE.search(row)) for row in block)
    if rows * 2 >= len(block) and (len(block) > 2 or re.search(r"\s{3,}|\.{3,}\s*\d", text)):
        return "table"
    letters = re.sub(r"[^A-Za-z]", "", text)
    if letters.isupper() and len(text.split()) <= 15 and len(letters) > 1 and "!" not in text:
        return "heading"
    return ""


def _join(block: list[str]) -> str:
    """One line; a word hyphenated at a line end is joined to its rest, dashes are kept."""
    text = ""
    for row in block:
        row = row.strip()
        hyphen = text.endswith("-") and not text.endswith("--") and row[:1].isalpha()
        text += row if hyphen or not text else " " + row
    return text
