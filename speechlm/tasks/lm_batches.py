"""Which lines of texts go into which batch of a language model's training."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from speechlm.data.report import Report
from speechlm.tasks.batching import Lines, TextBatches, padded_batches
from speechlm.tasks.left_out import list_left_out
from speechlm.tasks.lm_words import Sentences

Batch = tuple[list[str], dict[str, torch.Tensor]]


class SentenceEpochs:
    """Makes the batches of any epoch for one worker.

    A batch is (names of lines, tensors by name). In training it follows from its step alone, the
    number of the worker's batches before it (see `TextBatches`); lines that are empty or longer
    than a batch are named in the log and counted in `lines_left_out`. Validation has every line
    that is not empty once in each epoch, also a line that is longer than a batch should be.

    Args:
        text: the sentences.
        batch_words: limit of (sentences x words of the longest) of a batch of one worker, where the
            end of a sentence counts as a word.
        seed: of the order.
        rank, workers: which worker this is, of how many.
        steps: batches of an epoch at a worker in training; None: about one pass through the text.
        train: False: validation.
        report: where to list the lines that validation leaves out; None: nowhere.

    Raises:
        ValueError: no line of the text can be used, or it has too few for so many workers.
    """

    def __init__(
        self,
        text: Sentences,
        batch_words: int,
        seed: int,
        rank: int = 0,
        workers: int = 1,
        steps: int | None = None,
        train: bool = True,
        report: Path | None = None,
    ) -> None:
        self.text, self.lines = text, None
        if train:
            self.lines = self._training(batch_words, seed, rank, workers)
            # n lines of the text, of which a block of m gives K batches to one worker
            blocks = len(text) / self.lines.block_lines
            self.steps = steps or max(1, round(blocks * self.lines.block_batches / workers))
            return
        self._batches = self._validation(batch_words, workers, report)[rank]
        self.steps = len(self._batches)

    def _training(self, batch_words: int, seed: int, rank: int, workers: int) -> TextBatches:
        counts = self.text.unit_counts(self.text.sample())
        if not ((counts > 0) & (counts <= batch_words)).any():
            raise ValueError(
                f"{self.text.path}: none of {len(counts)} lines that were looked at has 1 to "
                f"{batch_words - 1} words, as a sentence of a batch must (batch_words)"
            )
        return TextBatches(self.text, batch_words, seed, rank, workers)

    def _validation(
        self, batch_words: int, workers: int, path: Path | None
    ) -> list[list[np.ndarray]]:
        counts = self.text.unit_counts(np.arange(len(self.text)))
        used, report = np.flatnonzero(counts), Report()
        for line in np.flatnonzero(counts == 0):
            report.leave_out("empty line", self.text.name(int(line)), self.text.path)
        list_left_out(report, len(used), self.text.path, path)
        if not len(used):
            raise ValueError(f"{self.text.path}: no line has a word; sentences are expected")
        batches = padded_batches(counts[used], batch_words, workers)
        return [[used[batch] for batch in part] for part in batches]

    def epoch(self, number: int) -> SentenceBatches:
        """Epoch 1, 2, ..."""
        first = (number - 1) * self.steps if self.lines is not None else 0
        return SentenceBatches(self, range(first, first + self.steps))

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        if self.lines is None:
            chosen = self._batches[step]
            return [self.text.name(int(n)) for n in chosen], self.text.batch(chosen)
        lines = self.lines[step]
        self._name_left_out(lines)
        used = lines.numbers[lines.used]
        left_out = torch.tensor(int((~lines.used).sum()))
        names = [self.text.name(int(n)) for n in used]
        return names, {**self.text.batch(used), "lines_left_out": left_out}

    def _name_left_out(self, lines: Lines) -> None:
        left_out = lines.numbers[~lines.used]
        for line, count in zip(left_out, self.text.unit_counts(left_out), strict=True):
            why = f"{count - 1} words have no room in the batches (batch_words)"
            logging.warning(
                "%s left out: %s", self.text.name(int(line)), why if count else "empty line"
            )


class SentenceBatches(Dataset):
    """The batches of one epoch at one worker, each made when it is asked for."""

    def __init__(self, epochs: SentenceEpochs, steps: range) -> None:
        self.epochs, self.steps = epochs, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Batch:
        return self.epochs.batch(self.steps[index])
