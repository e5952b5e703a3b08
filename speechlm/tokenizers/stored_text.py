"""Text to hidden units that were generated before, for batches of lines in pre-training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from speechlm.conventions import EOS
from speechlm.data.ctc_lengths import frames_needed
from speechlm.data.unit_store import UnitStore
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.tokenizers.phoneme_text import line_keys
from speechlm.tokenizers.text_batch import Dropped, TextBatch


@dataclass(frozen=True)
class _Line:
    """What is made of a line: its units from `phase` on, `count` with `</s>`, or why nothing is."""

    index: int
    phase: int
    count: int
    letters: np.ndarray
    dropped: Dropped | None


class StoredTextTokenizer:
    """Looks up the units of lines; called as `PhonemeTextTokenizer` is.

    Args:
        store: the units.
        seed: of the phases, with which every `step`-th unit is taken.
        step: units of the store that last as long as a frame of the model. Which of the first
            `step` units a line begins with is drawn by seed, epoch and line number.
        ctc_outputs: CTC outputs that the model has for each unit; lines whose letters do not fit
            into these are left out.

    `units`: the vocabulary of the units.
    """

    def __init__(
        self, store: UnitStore, seed: int = 0, step: int = 1, ctc_outputs: int = 1
    ) -> None:
        self.units = store.units
        self._store, self._characters = store, CharacterVocabulary()
        self._seed, self._step, self._ctc_outputs = seed, step, ctc_outputs

    def __call__(self, lines: Sequence[str], indices: ArrayLike, epochs: ArrayLike) -> TextBatch:
        """Units and characters of lines that have these numbers, in these epochs.

        `epochs`: that of each line, or one of all; they matter where not every unit is taken.
        Lines that generation left out are dropped and listed, and so are those whose letters CTC
        cannot write in their units. Words that the lexicon lacked were counted when the units were
        generated, and are not counted again.
        """
        numbers = np.asarray(indices, np.int64)
        kept, dropped, units, characters = [], [], [], []
        for line in self._plan(lines, numbers, epochs):
            if line.dropped is not None:
                dropped.append(line.dropped)
                continue
            kept.append(line.index)
            labels = self._store[line.index][line.phase :: self._step]
            units.append(np.append(self.units.to_model_ids(labels), EOS))
            characters.append(np.append(line.letters, EOS))
        none = np.zeros(0, np.int64)
        return TextBatch(
            np.array(kept, np.int64),
            np.concatenate([none, *units]),
            np.cumsum([0, *map(len, units)]),
            np.concatenate([none, *characters]),
            np.cumsum([0, *map(len, characters)]),
            dropped,
        )

    def unit_counts(
        self, lines: Sequence[str], indices: ArrayLike, epochs: ArrayLike
    ) -> np.ndarray:
        """Number of units that `__call__` would give each line, `</s>` included; 0 if dropped."""
        plan = self._plan(lines, np.asarray(indices, np.int64), epochs)
        return np.array([0 if line.dropped else line.count for line in plan], np.int64)

    def _plan(
        self, lines: Sequence[str], numbers: np.ndarray, epochs: ArrayLike
    ) -> Iterator[_Line]:
        stored = self._store.counts(numbers)
        keys = line_keys(self._seed, np.broadcast_to(epochs, numbers.shape), numbers)
        # Of U units those numbered phase, phase + step, ... are taken: ceil((U - phase) / step).
        # The phase is below U, so that no line with units loses all of them; </s> comes on top.
        phases = (keys % np.clip(stored, 1, self._step).astype(np.uint64)).astype(np.int64)
        counts = -((phases - stored) // self._step) + 1
        found = zip(lines, numbers.tolist(), phases.tolist(), counts.tolist(), strict=True)
        for line, index, phase, count in found:
            letters = self._characters.encode(line)
            needed, dropped = frames_needed(letters), None
            if count == 1:
                dropped = Dropped(index, "no units were generated")
            elif count * self._ctc_outputs < needed:
                dropped = Dropped.too_few_units(index, count, needed, self._ctc_outputs)
            yield _Line(index, phase, count, letters, dropped)
