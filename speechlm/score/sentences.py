"""A folder of scores: the figures, and the sentences behind them side by side, in one table."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from speechlm.data.whole_files import read_json

T = TypeVar("T")

SENTENCES = "sentences.tsv"
"""Name of the table inside a folder of scores."""
FIGURES = "scores.json"
"""Name of the file of figures there."""
_AGAIN = "delete its folder and score again (stage 14)"


@dataclass(frozen=True)
class Sentence:
    """What was to be written and what was written."""

    reference: str
    hypothesis: str


def write_figures(folder: str | os.PathLike[str], figures: Mapping[str, Any]) -> None:
    """Write the figures of a folder of scores."""
    Path(folder, FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def read_figures(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write_figures` wrote.

    Raises:
        ValueError: it is not there, or something else.
    """
    path = Path(folder, FIGURES)
    if not path.is_file():
        raise ValueError(f"{path} is not there; score {folder} first (stage 14)")
    return read_json(path, "scores by name", _AGAIN)


def read_counts(folder: str | os.PathLike[str], name: str, kind: type[T]) -> T:
    """One of the figures of a folder, as the dataclass whose fields were stored.

    Args:
        folder: what `write_figures` wrote into.
        name: key of the figure.
        kind: a dataclass.

    Raises:
        ValueError: it is not there, or has other fields.
    """
    path = Path(folder, FIGURES)
    stored = read_figures(folder).get(name)
    if not isinstance(stored, dict):
        raise ValueError(f"{path}: no {name} in it; {_AGAIN}")
    try:
        return kind(**stored)
    except TypeError as error:
        raise ValueError(f"{path}: {name} has not what was stored ({error}); {_AGAIN}") from None


def write_sentences(
    path: Path, sentences: Mapping[str, Sentence], more: Mapping[str, Mapping[str, str]]
) -> None:
    """Write `id reference hypothesis` and further columns (by name, then id) with tabs between."""
    lines = ["\t".join(["id", "reference", "hypothesis", *more])]
    for name in sorted(sentences):
        known = sentences[name]
        cells = [name, known.reference, known.hypothesis, *(table[name] for table in more.values())]
        lines.append("\t".join(" ".join(cell.split()) for cell in cells))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_sentences(path: str | os.PathLike[str]) -> dict[str, Sentence]:
    """What `write_sentences` wrote, without further columns."""
    lines = Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if lines[0].split("\t")[:3] != ["id", "reference", "hypothesis"]:
        raise ValueError(f"{path}: the columns id, reference, hypothesis expected: {lines[0]!r}")
    found: dict[str, Sentence] = {}
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        if len(fields) < 3 or fields[0] in found:
            what = "a second time" if fields[0] in found else f"with {len(fields)} fields"
            raise ValueError(f"{path}:{number}: {fields[0]} is there {what}")
        found[fields[0]] = Sentence(fields[1], fields[2])
    return found
