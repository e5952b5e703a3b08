"""Results that other runs gave, kept in a file to be shown beside a run's own.

Cells between tabs, of which the first line names the columns (`COLUMNS`); # begins a comment line:

    system  decoder  test  sentences  words  WER  CER  commit  command

`sentences` and `words` are those of the test set. They tell whether it is this run's: a result on
another one is not shown beside it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from speechlm.conventions import nearest
from speechlm.data.encoding import text_lines
from speechlm.score.error_rate import ErrorCounts
from speechlm.score.report import KINDS

COLUMNS = ("system", "decoder", "test", "sentences", "words", *KINDS, "commit", "command")


@dataclass(frozen=True)
class Kept:
    """A result of another run."""

    system: str
    decoder: str
    test: str
    sentences: int
    words: int
    rates: Mapping[str, float]
    """Percent, by "WER" and "CER"."""
    commit: str
    command: str

    @property
    def label(self) -> str:
        """What stands in the column of the system."""
        return f"{self.system} (kept result of {self.commit}, not from this run)"

    def misfit(self, sets: Mapping[str, ErrorCounts]) -> str:
        """Why it does not belong beside a run's results, or ''.

        Args:
            sets: counts of words of the run's test sets, by name.
        """
        if self.test not in sets:
            return f"this run has no test set {self.test}"
        found = sets[self.test]
        if (self.sentences, self.words) == (found.sentences, found.tokens):
            return ""
        return (
            f"its {self.test} has {self.sentences} sentences of {self.words} words, this run's "
            f"{found.sentences} of {found.tokens}"
        )


def read_kept(path: str | os.PathLike[str]) -> list[Kept]:
    """Results of a file, in its order.

    Raises:
        ValueError: the file is no such table; the line is named.
    """
    lines = [
        (number, line)
        for number, line in text_lines(path)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        raise ValueError(f"{path}: no line; a table with the columns {_listed(COLUMNS)} expected")
    number, head = lines[0]
    names = head.split("\t")
    for name in names:
        if name not in COLUMNS:
            raise ValueError(
                f"{path}:{number}: no column {name!r}; the nearest known one is "
                f"{nearest(name, COLUMNS)}, all are {_listed(COLUMNS)}"
            )
    if sorted(names) != sorted(COLUMNS):
        raise ValueError(
            f"{path}:{number}: the columns {_listed(COLUMNS)} expected, each once, with tabs "
            f"between them, got {_listed(names)}"
        )
    kept: list[Kept] = []
    places: dict[tuple[str, str, str], int] = {}
    for number, line in lines[1:]:
        result = _result(f"{path}:{number}", names, line.split("\t"))
        key = (result.label, result.decoder, result.test)
        if key in places:
            raise ValueError(f"{path}:{number}: the same result as in line {places[key]}")
        places[key] = number
        kept.append(result)
    return kept


def _result(where: str, names: Sequence[str], cells: Sequence[str]) -> Kept:
    if len(cells) != len(names) or not all(cell.strip() for cell in cells):
        raise ValueError(
            f"{where}: {len(names)} cells with something in them expected, with tabs between "
            f"them, got {list(cells)}"
        )
    values = dict(zip(names, map(str.strip, cells), strict=True))
    sentences, words = (_number(where, name, values, r"\d+") for name in ("sentences", "words"))
    rates = {kind: _number(where, kind, values, r"\d+(\.\d+)?") for kind in KINDS}
    return Kept(
        values["system"],
        values["decoder"],
        values["test"],
        int(sentences),
        int(words),
        rates,
        values["commit"],
        values["command"],
    )


def _number(where: str, name: str, values: Mapping[str, str], form: str) -> float:
    if not re.fullmatch(form, values[name], re.ASCII):
        kind = "a number such as 12.5" if "." in form else "a whole number"
        raise ValueError(f"{where}: {name}: {kind} expected, got {values[name]!r}")
    return float(values[name])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
