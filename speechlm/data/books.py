"""Paragraphs of prose from raw text files, Project Gutenberg's in particular.

Project Gutenberg's header, licence and credits, tables of contents, chapter headings,
illustrations and separators are left out and reported.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from speechlm.data.encoding import advice, is_utf8, open_text, reading_progress, unpacking
from speechlm.data.text_kind import kind_of

_LOOK_AHEAD = 1000  # lines that are looked at for the kind of a file and the start of a book
_LONGEST = 1 << 16  # characters that are held of a line or a paragraph
_KINDS = {
    "book": "a book, paragraphs between blank lines",
    "lines": "a sentence or paragraph a line",
}
_START = re.compile(r"\*\*\*\s*START OF|\*END\*\s*THE SMALL PRINT", re.IGNORECASE)
_END = re.compile(
    r"\*\*\*\s*END OF|^\s*\**\s*End of (?:the |this )?Project Gutenberg", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?][\"')\]»”’]*\s*$")
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
    """A whole line of a file with a sentence or paragraph a line."""


def read_paragraphs(path: str | os.PathLike[str], kind: str = "auto") -> Iterator[Paragraph]:
    """Stream a text file, plain or .gz; memory depends neither on its size nor on its lines'.

    A line of more than 65,536 characters is read in pieces, which end with a sentence or a word; so
    is a paragraph of a book of that size. Lines that are not UTF-8 are taken as Windows-1252, with
    a warning.

    Args:
        path: the file; lines may end in LF, CR LF or CR.
        kind: `book`, paragraphs are separated by blank lines; `lines`, every line is a paragraph
            of its own; `auto`, what `text_kind.kind_of` finds in the first 1,000 lines.

    Raises:
        ValueError: another kind; the file is missing, binary, UTF-16 or cannot be unpacked.
    """
    if kind not in ("auto", *_KINDS):
        raise ValueError(f"one of auto, book, lines expected, got {kind}")
    with unpacking(path):
        head = _head(path)
        if kind == "auto":
            kind, why = kind_of(head)
            logging.info("%s: %s (%s); --kind decides where that is wrong", path, _KINDS[kind], why)
        yield from _lines(path) if kind == "lines" else _book(path, head)


def _head(path: str | os.PathLike[str]) -> list[str]:
    """The first lines, and not more than a megabyte of them."""
    head: list[str] = []
    with open_text(path) as file:
        size = 0
        while len(head) < _LOOK_AHEAD and size < 1 << 20 and (line := file.readline(_LONGEST)):
            head.append(line.rstrip("\n"))
            size += len(line)
    return head


class _Piece(NamedTuple):
    number: int
    text: str
    is_whole: bool
    """A whole line, not a part of a long one."""


def _pieces(path: str | os.PathLike[str]) -> Iterator[_Piece]:
    """Lines without their ends, the long ones in parts."""
    number, rest, is_whole = 1, "", True  # the line, and what of it was read but not yielded yet
    first, n_foreign = 0, 0
    with open_text(path) as file, reading_progress(path, file) as read:
        while line := file.readline(_LONGEST - len(rest)):
            if number % 1024 == 0:
                read()
            if "\0" in line:
                raise ValueError(f"{path}:{number}: text expected, found binary data")
            if not is_utf8(line):
                line = line.encode("utf-8", "surrogateescape").decode("cp1252", errors="replace")
                first, n_foreign = first or number, n_foreign + 1
            text = rest + line
            if text.endswith("\n") or len(text) < _LONGEST:
                yield _Piece(number, text.rstrip("\n"), is_whole)
                number, rest, is_whole = number + 1, "", True
            else:
                place = _place_to_cut(text)
                yield _Piece(number, text[:place], False)
                rest, is_whole = text[place:], False
    if rest:
        yield _Piece(number, rest, False)
    if n_foreign:
        logging.warning(
            "%s:%d: not UTF-8, as %d lines in all; they are taken as Windows-1252. If the file is"
            " in another encoding, %s",
            *(path, first, n_foreign, advice(path)),
        )


def _place_to_cut(text: str) -> int:
    """Where a text that is too long is cut: after a sentence, a word, or else at its end."""
    place = max(text.rfind(end) for end in (". ", "! ", "? ")) + 2
    return place if place > len(text) // 2 else text.rfind(" ") + 1 or len(text)


def _lines(path: str | os.PathLike[str]) -> Iterator[Paragraph]:
    for number, text, is_whole in _pieces(path):
        if text.strip():
            yield Paragraph(text.strip(), number, is_line=is_whole)


def _book(path: str | os.PathLike[str], head: list[str]) -> Iterator[Paragraph]:
    """Paragraphs of a book, or of several in one file, without what surrounds them."""
    inside = not any(_START.search(line) for line in head)
    block: list[str] = []
    first = size = 0
    for number, line, _ in _pieces(path):
        start, end = _START.search(line), _END.search(line)
        if line.strip() and not start and not end:
            first = first or number
            block.append(line)
            size += len(line)
            if size < _LONGEST or not _SENTENCE_END.search(line) and size < 2 * _LONGEST:
                continue
        if block:
            yield _judged(block, first, inside)
        block, first, size = [], 0, 0
        inside = (inside or bool(start)) and not end
    if block:
        yield _judged(block, first, inside)


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
