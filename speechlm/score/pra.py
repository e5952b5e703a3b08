"""Alignments to read, in the form of sclite's `pra` ("print alignments").

    Speaker sentences   0:  anna   #utts: 12
    id: (anna-0001)
    Scores: (#C #S #D #I) 2 1 1 0
    REF:  she SAW the CATS
    HYP:  she WAS the ****
    Eval:     S       D

Words are compared as they are written. Where this does not hide what is wrong, right ones are shown
in small letters, wrong ones in capitals; a gap is as many `*` as the other word has letters.

Source: the examples of sclite's documentation (NIST SCTK, doc/sclite.htm, doc/outputs.htm).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

from speechlm.score.error_rate import GAP, ErrorRates

_HEADS = ("REF: ", "HYP: ", "Eval:")


def format_alignments(rates: ErrorRates, speakers: Mapping[str, str] | None = None) -> str:
    """One paragraph an utterance: sclite's line of scores, words under words, marks of errors.

    Args:
        rates: what was scored.
        speakers: by utterance; utterances then stand under a line for each speaker.
    """
    if speakers is None:
        return "\n".join(_paragraph(rates, utterance) for utterance in rates.alignments)
    groups: dict[str, list[str]] = {}
    for utterance in rates.alignments:
        groups.setdefault(speakers[utterance], []).append(utterance)
    return "\n".join(_speakers(rates, groups))


def _speakers(rates: ErrorRates, groups: Mapping[str, list[str]]) -> Iterator[str]:
    for number, speaker in enumerate(sorted(groups)):
        paragraphs = "\n".join(_paragraph(rates, utterance) for utterance in groups[speaker])
        head = f"Speaker sentences {number:3d}:  {speaker}   #utts: {len(groups[speaker])}\n"
        yield head + paragraphs


def _paragraph(rates: ErrorRates, utterance: str) -> str:
    counts = rates.single[utterance][0]
    scores = (counts.correct, counts.substitutions, counts.deletions, counts.insertions)
    columns: list[tuple[str, ...]] = [_HEADS]
    columns += [_column(*pair) for pair in rates.alignments[utterance]]
    lines = [" ".join(line).rstrip() for line in zip(*columns, strict=True)]
    head = [f"id: ({utterance})", f"Scores: (#C #S #D #I) {' '.join(map(str, scores))}"]
    return "".join(f"{line}\n" for line in head + lines)


def _column(reference: str, hypothesis: str) -> tuple[str, ...]:
    """A word of each line, and its mark, all equally wide."""
    mark = "I" if reference == GAP else "D" if hypothesis == GAP else "S"
    if reference == hypothesis:
        cells = [reference.lower(), hypothesis.lower(), ""]
    elif reference.upper() == hypothesis.upper():
        cells = [reference, hypothesis, mark]  # their case is what is wrong
    else:
        cells = [_capitals(reference), _capitals(hypothesis), mark]
    widest = max(map(width, cells))
    cells = [cell or "*" * widest for cell in cells[:2]] + cells[2:]
    return tuple(cell + " " * (widest - width(cell)) for cell in cells)


def _capitals(word: str) -> str:
    """A word in capitals, letters that have no single capital (ß) as they are."""
    return "".join(c.upper() if len(c.upper()) == 1 else c for c in word)


def width(word: str) -> int:
    """Columns that a terminal gives to a word: two for wide letters, none for combining marks."""
    return sum(
        0
        if unicodedata.category(letter) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in word
    )
