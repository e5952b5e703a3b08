"""Joint batches of speech with unit labels and of text turned into units, for pre-training."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from speechlm.tasks.batching import SpeechBatches, TextBatches
from speechlm.tasks.speech_units import SpeechUnits
from speechlm.tasks.text_units import TextUnits

MOST_LOSS = 0.02
"""Share of a batch's samples that may be padding, or cropped off, without a warning."""


class JointEpochs:
    """Makes the batches of any epoch for one worker.

    A batch is (ids, tensors by name). It follows from its step alone: from the number of the
    worker's batches before it, in all epochs.

    Args:
        speech, text: the data; text None: speech only.
        batch_samples: limit of padded samples of a speech batch of one worker.
        batch_units: limit of padded units of a text batch of one worker.
        seed: of orders, crops and text units.
        rank, workers: which worker this is, of how many.
        steps: batches of an epoch at a worker; None: one pass over the speech.
        train: False (validation): every epoch is the first one, in fixed order. Crops start at the
            beginning, and each batch has a `seed` of its own, from which the model draws its masks.
        at_once: so many batches of these limits are put together as one, in training.

    Raises:
        ValueError: batches of these sizes cannot be made of the data; the file is named.
    """

    def __init__(
        self,
        speech: SpeechUnits,
        text: TextUnits | None,
        batch_samples: int,
        batch_units: int,
        seed: int,
        rank: int = 0,
        workers: int = 1,
        steps: int | None = None,
        train: bool = True,
        at_once: int = 1,
    ) -> None:
        self.speech, self.text, self.train = speech, text, train
        self.seed, self.rank, self.workers = seed, rank, workers
        at_once = at_once if train else 1
        try:
            self.batches = SpeechBatches(
                speech.lengths, batch_samples, seed, workers, train, at_once
            )
        except ValueError as error:
            raise ValueError(f"{speech.folder}: {error}") from None
        self._log_loss()
        self.steps = steps or len(self.batches)
        self.lines: TextBatches | None = None
        if text is not None:
            if train:
                self.lines = TextBatches(text, batch_units, seed, rank, workers, at_once=at_once)
            else:  # one block for the batches of all workers, which take them by turns
                self.lines = TextBatches(text, batch_units, seed, batches=self.steps * workers)

    def _log_loss(self) -> None:
        """Say how unequal the lengths of a batch are, with a warning where that is much."""
        loss, count = self.batches.loss, len(self.batches) * self.batches.workers
        uneven = self.train and loss > MOST_LOSS
        advice = "; too few utterances for batches of this size" if uneven else ""
        logging.log(
            logging.WARNING if advice and self.rank == 0 else logging.INFO,
            "%s: %d batches of %d utterances; about %.1f %% of their samples are %s%s",
            *(self.speech.folder, count, len(self.speech), 100 * loss),
            *("padding" if self.speech.pad_audio else "cropped to equal lengths", advice),
        )

    def epoch(self, number: int) -> JointBatches:
        """Epoch 1, 2, ..."""
        first = (number - 1) * self.steps if self.train else 0
        steps = range(first, first + self.steps)
        chosen: list[np.ndarray] = []
        while len(chosen) < len(steps):
            # n batches in a pass: step s is batch s mod n of pass s div n
            turn, place = divmod(steps[len(chosen)], len(self.batches))
            last = place + len(steps) - len(chosen)
            chosen += self.batches.worker_pass(turn, self.rank, place, last)
        return JointBatches(self, steps, chosen)

    def batch(self, step: int, chosen: np.ndarray) -> tuple[list[str], dict[str, torch.Tensor]]:
        """The batch of a step, with the utterances that have the indices `chosen`."""
        random = np.random.default_rng([self.seed, step, self.rank])
        batch = self.speech.batch(chosen, random if self.train else None)
        ids = [self.speech.ids[i] for i in chosen]
        if self.text is not None and self.lines is not None:
            lines = self.lines[step if self.train else step * self.workers + self.rank]
            batch |= self.text.batch(lines)
            ids += [self.text.name(int(line)) for line in lines.numbers[lines.used]]
        if not self.train:
            batch["seed"] = torch.tensor(int(random.integers(2**31)))
        return ids, batch


class JointBatches(Dataset):
    """The batches of one epoch at one worker, each made when it is asked for."""

    def __init__(self, epochs: JointEpochs, steps: range, chosen: Sequence[np.ndarray]) -> None:
        self.epochs, self.steps, self.chosen = epochs, steps, chosen

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> tuple[list[str], dict[str, torch.Tensor]]:
        return self.epochs.batch(self.steps[index], self.chosen[index])
