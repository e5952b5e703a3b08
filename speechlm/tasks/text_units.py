"""Text of pre-training: lines of a corpus as units and characters.

B lines, T units, U characters.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from speechlm.conventions import PAD
from speechlm.data.text_corpus import TextCorpus
from speechlm.data.unit_store import UnitStore
from speechlm.tasks.batching import Lines
from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer
from speechlm.tokenizers.stored_text import StoredTextTokenizer
from speechlm.tokenizers.text_batch import Dropped, TextBatch


class TextUnits:
    """Lines of a text corpus as unit and character ids."""

    tokenizer: PhonemeTextTokenizer | StoredTextTokenizer

    def __init__(self, path: str | os.PathLike[str], tokenizer: PhonemeTextTokenizer) -> None:
        self.corpus = TextCorpus(path)
        self.tokenizer = tokenizer

    @property
    def path(self) -> Path:
        """The text's file."""
        return self.corpus.path

    def __len__(self) -> int:
        return len(self.corpus)

    def unit_counts(self, lines: np.ndarray, passes: np.ndarray) -> np.ndarray:
        """(n,) units of lines by number in these passes through the text, as in `batch`.

        `</s>` is counted; lines that the tokenizer drops have 0.

        Raises:
            ValueError: a line cannot be tokenized; it is named.
        """
        with self._named_errors():
            return self.tokenizer.unit_counts(self.corpus.lines(lines), lines, passes)

    def batch(self, lines: Lines) -> dict[str, torch.Tensor]:
        """units (B, T) and characters (B, U), each row ended by EOS and padded with PAD.

        Lines that are not used, or that the tokenizer drops, are logged with the reason and counted
        in `lines_left_out`, those among them whose characters CTC cannot write in their units in
        `impossible_lines` as well, words of the others that the lexicon lacks in `unknown_words`,
        () each. If no line remains, only the counts are there.

        Raises:
            ValueError: a line cannot be tokenized; it is named.
        """
        made = self._tokenize(lines, lines.used)
        left_out = made.dropped
        if not lines.used.all():
            rest = self._tokenize(lines, ~lines.used)
            left_out += rest.dropped
            for line, (units, _) in zip(rest.indices, rest, strict=True):
                why = f"{len(units)} units have no room in the batches (batch_units)"
                left_out.append(Dropped(int(line), why))
        self._report(left_out, made.unknown)
        counts = {
            "lines_left_out": torch.tensor(len(left_out)),
            "impossible_lines": torch.tensor(sum(line.impossible for line in left_out)),
            "unknown_words": torch.tensor(made.unknown.total()),
        }
        if not len(made):
            return counts
        return {
            "units": pad([units for units, _ in made]),
            "characters": pad([characters for _, characters in made]),
        } | counts

    def _tokenize(self, lines: Lines, chosen: np.ndarray) -> TextBatch:
        numbers, passes = lines.numbers[chosen], lines.passes[chosen]
        with self._named_errors():
            return self.tokenizer(self.corpus.lines(numbers), numbers, passes)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Errors within the block name the text."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def _report(self, left_out: Sequence[Dropped], unknown: Mapping[str, int]) -> None:
        for line in left_out:
            logging.warning("%s left out: %s", self.name(line.index), line.reason)
        if unknown:
            words = ", ".join(sorted(unknown)[:10])
            logging.warning("%s: words that the lexicon lacks: %s", self.path, words)

    def name(self, line: int) -> str:
        """How a line is called in messages: `file:number`, from 1."""
        return f"{self.path}:{line + 1}"


class StoredTextUnits(TextUnits):
    """Lines of a text corpus with hidden units that were generated before (SpeechLM-H).

    Where a frame of the model lasts as long as n of the units, every n-th unit is taken.

    Args:
        path: the text.
        folder: of the store that generate_text_units made of it.
        frame_shift: seconds that a frame of the encoder lasts.
        seed: of the unit that a line begins with, where not every unit is taken.
        ctc_outputs: CTC outputs of a frame.

    Raises:
        ValueError: the store is not complete, is of another text, or the encoder's frames do not
            last as long as one or several of its units.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        folder: str | os.PathLike[str],
        frame_shift: float,
        seed: int = 0,
        ctc_outputs: int = 1,
    ) -> None:
        self.corpus, self.store = TextCorpus(path), UnitStore(folder)
        self.store.check(self.corpus)
        shift = self.store.frame_shift
        step = round(frame_shift / shift)
        if step < 1 or abs(step * shift - frame_shift) > 1e-6:
            raise ValueError(
                f"{folder} has units of {shift:g} s, the model's frames last {frame_shift:g} s, "
                "which is no multiple: units of speech at that rate, or at a multiple of it, and "
                "a text-to-unit model trained on them are needed"
            )
        self.tokenizer = StoredTextTokenizer(self.store, seed, step, ctc_outputs)


def pad(rows: Sequence[np.ndarray]) -> torch.Tensor:
    """(B, longest) int64, rows right-padded with PAD."""
    padded = torch.full((len(rows), max(len(row) for row in rows)), PAD)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.from_numpy(np.asarray(row, np.int64))
    return padded
