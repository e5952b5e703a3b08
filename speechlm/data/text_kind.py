"""Whether a text has a sentence (or a paragraph) a line, or sentences that run over line ends.

Blank lines say nothing about it: they stand between the paragraphs of a book, and as well between
the documents of a text with a sentence a line. What is looked at are pairs of lines without a blank
line between them: does the first one end a sentence, does the second one go on with it?
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

_MARKERS = re.compile(r"Project Gutenberg|\*END\*\s*THE SMALL PRINT", re.IGNORECASE)  # around books
_CLOSERS = "\"')\\]»”’*_"
_ENDED = re.compile(rf"[.!?…։।॥؟۔][{_CLOSERS}]*$")
_OPEN = re.compile(r"[,;:—–-]$")
_INSIDE = re.compile(rf"[^\W\d_]{{3}}[.!?][{_CLOSERS}]*\s+[\"'(“‘]*[^\W\d_]")
_OPENERS = "\"'([“‘_„«»¿¡"
_SHORTEST = 4  # words of a line that says something: not those of headings and tables


def kind_of(lines: Sequence[str]) -> tuple[str, str]:
    """The kind of a text, `book` or `lines`, by its first lines, and why.

    A book is a text with Project Gutenberg's marks, or one most of whose lines do not end a
    sentence, if they also show that it goes on: by a comma or hyphen at their end, a small letter
    at the start of the next line (in texts whose sentences start with capitals), or because they
    all are as full as the next word allows and have ends of sentences inside. So hard-wrapped
    prose, also in lower case, and poems are books; a sentence or a paragraph a line is not, with
    or without punctuation.
    """
    if any(_MARKERS.search(line) for line in lines):
        return "book", "it has Project Gutenberg's marks"
    stripped = [line.strip() for line in lines]
    pairs = [(a, b) for a, b in pairwise(stripped) if b and len(a.split()) >= _SHORTEST]
    if not pairs:
        return "lines", "blank lines stand around each line"
    ended = [bool(_ENDED.search(a)) for a, _ in pairs]
    share = sum(ended) / len(pairs)
    if share >= 0.5:
        return "lines", f"{share:.0%} of the lines end a sentence"
    capitals = _sentences_start_with_capitals(stripped)
    on = sum(_goes_on(a, b, capitals) for (a, b), end in zip(pairs, ended, strict=True) if not end)
    if on >= 0.3 * len(pairs):
        return "book", f"{on / len(pairs):.0%} of the sentences run on in the next line"
    inside = sum(bool(_INSIDE.search(a)) for a, _ in pairs)
    if _full(pairs) >= 0.6 and inside >= 0.1 * len(pairs):
        return "book", "the lines are full, and sentences end inside them"
    return "lines", "sentences do not run on in the next line"


def _goes_on(line: str, following: str, capitals: bool) -> bool:
    """Whether the sentence of a line goes on in the one that follows.

    Args:
        line: without an end of a sentence.
        following: the next line.
        capitals: whether sentences start with capitals, so that small letters tell something.
    """
    tells = capitals and not line.isupper()
    return bool(_OPEN.search(line)) or (tells and _starts_small(following))


def _sentences_start_with_capitals(lines: Sequence[str]) -> bool:
    """Whether what follows a blank line or the end of a sentence starts so, as a rule."""
    starts = [b for a, b in pairwise(["", *lines]) if b and (not a or _ENDED.search(a))]
    return sum(not _starts_small(start) for start in starts) > 0.5 * len(starts)


def _starts_small(line: str) -> bool:
    """Whether a line's first letter is a small one."""
    return line.lstrip(_OPENERS)[:1].islower()


def _full(pairs: Sequence[tuple[str, str]]) -> float:
    """Share of the lines that have no room for the first word of the next one."""
    lengths = sorted(len(a) for a, _ in pairs)
    width = lengths[int(0.95 * (len(lengths) - 1))]
    # A line is full if it and the next word reach 0.9 of the width: not all wrap at the last place.
    return sum(len(a) + 1 + len(b.split()[0]) >= 0.9 * width for a, b in pairs) / len(pairs)
