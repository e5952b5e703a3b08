"""What tokenizers of text make of lines: units and characters, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Dropped:
    """A line that was left out: its number in the corpus, and why."""

    index: int
    reason: str
    impossible: bool = False
    """Whether CTC could not write its letters in its units."""

    @classmethod
    def too_few_units(cls, index: int, units: int, needed: int, ctc_outputs: int) -> Dropped:
        """A line whose units (`</s>` included) have fewer CTC outputs than its letters need."""
        outputs = f"{units} units" + (f" with {ctc_outputs} outputs each" * (ctc_outputs > 1))
        return cls(index, f"{outputs}, its letters need {needed}", True)


@dataclass
class TextBatch:
    """Units and characters of lines, packed: those of line n are [offsets[n]:offsets[n + 1]].

    `indices` (n,) numbers of the lines kept, in the order given; `units` model ids with
    `</s>` last, `characters` ids with `|` and `</s>` last; all int64. `dropped` lists the
    other lines, `unknown` counts the words that the lexicon lacks.
    """

    indices: np.ndarray
    units: np.ndarray
    unit_offsets: np.ndarray
    characters: np.ndarray
    character_offsets: np.ndarray
    dropped: list[Dropped] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(units, characters) of the n-th line kept, as views."""
        u, c = self.unit_offsets, self.character_offsets
        return self.units[u[n] : u[n + 1]], self.characters[c[n] : c[n + 1]]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self[n] for n in range(len(self)))
