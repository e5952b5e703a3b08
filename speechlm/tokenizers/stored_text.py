"""Text to hidden units that were generated before, for batches of lines in pre-training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from speechlm.conventions import EOS
from speechlm.data.ctc_lengths import frames_needed
from speechlm.data.unit_store import UnitStore
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.tokenizers.text_batch import Dropped, TextBatch


class StoredTextTokenizer:
    """Looks up the units of lines; called as `PhonemeTextTokenizer` is.

    `units`: the vocabulary of the units.
    """

    def __init__(self, store: UnitStore) -> None:
        self.units = store.units
        self._store, self._characters = store, CharacterVocabulary()

    def __call__(self, lines: Sequence[str], indices: ArrayLike, epochs: ArrayLike) -> TextBatch:
        """Units and characters of lines that have these numbers; the same in every epoch.

        Lines that generation left out are dropped and listed, and so are those whose letters CTC
        cannot write in their units. Words that the lexicon lacked were
        counted when the units were generated, and are not counted again.
        """
        kept, dropped, units, characters = [], [], [], []
        for line, index in zip(lines, np.asarray(indices).tolist(), strict=True):
            labels = self._store[index]
            if not len(labels):
                dropped.append(Dropped(index, "no units were generated"))
                continue
            letters = self._characters.encode(line)
            if len(labels) + 1 < (needed := frames_needed(letters)):
                dropped.append(Dropped.too_few_units(index, len(labels) + 1, needed))
                continue
            kept.append(index)
            units.append(np.append(self.units.to_model_ids(labels), EOS))
            characters.append(np.append(letters, EOS))
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
        counts = self._store.counts(np.asarray(indices, np.int64))
        return counts + (counts > 0)
