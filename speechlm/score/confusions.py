"""Which words are taken for which, lost or made up: counts of all operations of an alignment."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from speechlm.score.error_rate import GAP, ErrorRates
from speechlm.score.markdown import markdown_table

OPERATIONS = "ops.tsv"
"""Name of the table inside a folder of scores."""
_KINDS = ("correct", "substitution", "deletion", "insertion")
_SHOWN_GAP = "***"  # Kaldi's

Key = TypeVar("Key", str, tuple[str, str])

Operations = Counter[tuple[str, str, str]]
"""How often (operation, reference word, hypothesis word) occurs; `GAP` for no word."""


def operations(rates: ErrorRates) -> Operations:
    """Count the operations of all alignments."""
    found: Operations = Counter()
    for pairs in rates.alignments.values():
        found.update((_kind(*pair), *pair) for pair in pairs)
    return found


def write_operations(counts: Operations, path: str | os.PathLike[str]) -> None:
    """Write `operation reference hypothesis count` with tabs between, as Kaldi's `ops` has them.

    Operations of a kind stand together, the most frequent first; `***` is a gap.
    """
    order = sorted(counts, key=lambda key: (_KINDS.index(key[0]), -counts[key], key))
    lines = ["operation\treference\thypothesis\tcount\n"]
    lines += ["\t".join([*_shown(key), str(counts[key])]) + "\n" for key in order]
    Path(path).write_text("".join(lines), encoding="utf-8")


def confusion_tables(counts: Operations, most: int) -> str:
    """Markdown: the most frequent confusion pairs, words deleted and words inserted.

    Args:
        counts: of `operations`.
        most: rows of each table.
    """
    spoken: Counter[str] = Counter()
    for (_, reference, _), count in counts.items():
        spoken[reference] += count
    pairs = {(r, h): n for (kind, r, h), n in counts.items() if kind == "substitution"}
    lost = {r: n for (kind, r, _), n in counts.items() if kind == "deletion"}
    added = {h: n for (kind, _, h), n in counts.items() if kind == "insertion"}
    texts = [
        _table(
            "Confusion pairs",
            ("reference", "hypothesis", "count", "of"),
            sum(pairs.values()),
            [(*pair, str(n), str(spoken[pair[0]])) for pair, n in _frequent(pairs, most)],
        ),
        _table(
            "Words deleted",
            ("word", "count", "of"),
            sum(lost.values()),
            [(word, str(n), str(spoken[word])) for word, n in _frequent(lost, most)],
        ),
        _table(
            "Words inserted",
            ("word", "count"),
            sum(added.values()),
            [(word, str(n)) for word, n in _frequent(added, most)],
        ),
    ]
    return "\n".join(texts)


def _table(
    heading: str, header: tuple[str, ...], total: int, rows: Iterable[tuple[str, ...]]
) -> str:
    """A heading with the sum of all counts, and the table of the most frequent ones."""
    table = markdown_table(header, rows) if total else ""
    return f"{heading} ({total})\n\n{table}"


def _frequent(counts: dict[Key, int], most: int) -> list[tuple[Key, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def _kind(reference: str, hypothesis: str) -> str:
    if reference == hypothesis:
        return "correct"
    if reference == GAP:
        return "insertion"
    return "deletion" if hypothesis == GAP else "substitution"


def _shown(key: tuple[str, str, str]) -> tuple[str, ...]:
    return tuple(word or _SHOWN_GAP for word in key)
