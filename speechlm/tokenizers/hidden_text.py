"""Text to hidden units: lexicon, silences, and a trained text-to-unit model.

A line's phones are those of the phoneme-unit tokenizer (SIL at both ends, between words with some
probability, the first pronunciation of each word, noise for words that the lexicon lacks; lines
that are empty or of 2,000 phones or letters and more are dropped), without stress and position.
The model gives each phone a duration and each frame its most probable unit. Lines that come out
with 2,800 units and more are dropped, too. (Those with fewer than CTC needs for their letters are
left out by pre-training, as that depends on its model.)

Stored or made on the fly? Pre-training reads units from a `UnitStore`, 2 bytes a unit. On one core
(AMD EPYC with AVX-512) the model makes, a second, 3,100 units in the paper's size and 28,500 in the
small one of the recipes, in bfloat16 5,700 and 46,900; a batch reads 8,000,000 stored ones. The
paper's pre-training reads some 56 G units of text, each sentence several times: on the fly every
GPU (some 10,000 units a second) would need two cores or more for its text alone, and pay for every
pass. The price of storing is that the silences of a line are the same in every pass, and that a
training which reads less than one pass, as those of minutes do, has some units made in vain.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speechlm.data.lexicon import Lexicon
from speechlm.data.monophones import MONOPHONES, phone_of_unit
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.models.text_to_unit import TextToUnit
from speechlm.progress import Progress
from speechlm.tokenizers.durations import EDGE, PAPER_SILENCE_PROBABILITY, UnitDurations
from speechlm.tokenizers.phoneme_text import MOST_UNITS, PhonemeTextTokenizer
from speechlm.tokenizers.text_batch import Dropped

_GROUP = 60_000
"""Phones whose hidden states are kept at a time."""
_EPOCH = 0
"""Silences are drawn once."""


@dataclass
class HiddenUnits:
    """Units of lines: labels (U,) of each, empty where the line was dropped."""

    rows: list[np.ndarray]
    dropped: list[Dropped]
    unknown: Counter[str]


class HiddenTextTokenizer:
    """Turns lines of text into hidden units.

    What a line becomes depends on the seed and its number, but for rounding errors of the batches
    in which the model sees it.

    Args:
        model: trained.
        lexicon: pronunciations of the text's words.
        seed: of the silences.
        silence_probability: of a silence between two words.
        max_frames: padded phones or units of a batch of the model.
        phones: what the model reads; if it has no symbol for noise (the released one), lines with
            words that the lexicon lacks are dropped.
    """

    def __init__(
        self,
        model: TextToUnit,
        lexicon: Lexicon,
        seed: int,
        silence_probability: float = PAPER_SILENCE_PROBABILITY,
        max_frames: int = 2048,
        phones: UnitVocabulary = MONOPHONES,
    ) -> None:
        once = [np.array([0.0, 1.0])]  # every phone is written once
        durations = UnitDurations(
            once, dict.fromkeys(("phone", "SIL", "SPN", EDGE), 1), silence_probability
        )
        self._phones = PhonemeTextTokenizer(lexicon, seed, durations, ctc_outputs=0)
        self._table = phone_of_unit(phones)
        self.model, self.max_frames = model, max_frames

    def phones(
        self, lines: Sequence[str], indices: Sequence[int]
    ) -> tuple[list[np.ndarray], np.ndarray, list[Dropped], Counter[str]]:
        """Phones (P,) with EOS of the lines kept, their numbers, the others, unknown words."""
        batch = self._phones(lines, indices, _EPOCH)
        phones = self._table[batch.units]
        rows = np.split(phones, batch.unit_offsets[1:-1]) if len(batch) else []
        whole = np.array([bool((row >= 0).all()) for row in rows], bool)
        unwritten = [
            Dropped(
                int(index), "a word that the lexicon lacks, and the model has no phone of noise"
            )
            for index in batch.indices[np.logical_not(whole)]
        ]
        rows = [row for row, good in zip(rows, whole, strict=True) if good]
        return rows, batch.indices[whole], [*batch.dropped, *unwritten], batch.unknown

    def __call__(
        self, lines: Sequence[str], indices: Sequence[int], shown: Progress | None = None
    ) -> HiddenUnits:
        """Units of lines that have these numbers in their corpus; `shown` goes on by each.

        Raises:
            ValueError: characters other than the language's letters and space.
        """
        phones, kept, dropped, unknown = self.phones(lines, indices)
        made: dict[int, np.ndarray] = {}
        for group in _groups([len(row) for row in phones]):
            sentences = [torch.from_numpy(phones[n]) for n in group]
            units = self.model.generate(sentences, self.max_frames)
            made |= {int(kept[n]): row.numpy() for n, row in zip(group, units, strict=True)}
            if shown:
                shown.advance(len(group))
        for index, row in list(made.items()):
            if not 0 < len(row) < MOST_UNITS:
                dropped.append(Dropped(index, f"{len(row)} units"))
                del made[index]
        empty = np.zeros(0, np.int64)
        rows = [made.get(int(index), empty) for index in indices]
        return HiddenUnits(rows, sorted(dropped, key=lambda line: line.index), unknown)


def _groups(lengths: Sequence[int]) -> list[list[int]]:
    """Rows by length, the longest first, in groups of at most _GROUP phones or of one row."""
    groups: list[list[int]] = []
    room = 0
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if not groups or lengths[row] > room:
            groups.append([])
            room = _GROUP
        groups[-1].append(row)
        room -= lengths[row]
    return groups


def fingerprint(paths: Sequence[Path]) -> str:
    """A short hash of files' contents."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]
