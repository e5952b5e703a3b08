"""What the batches of an epoch report, kept where it was computed until it is read.

Whoever reads a number of a GPU waits until the GPU has done all that it was given, after which the
GPU waits for the next batch. So the numbers of `READ_EVERY` batches are read together, in one copy,
and whether losses and gradients are finite is seen then. Updates do not wait for that: the one of a
batch that is broken has been left out on the GPU (`updates`). On a CPU every batch is read at once.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import torch
from espnet2.train.reporter import SubReporter
from torch import Tensor

from speechlm.data.atomic import write_text
from speechlm.tasks.inside import Run
from speechlm.tasks.workers import from_all_workers, rank

READ_EVERY = 20
"""Batches of a GPU that are read together: of Base some seconds."""
STOPPED = "STOPPED.txt"
"""Name of the file in the training's folder that says why it was stopped."""


class TrainingStopped(ValueError):
    """The training cannot go on; the message says where it stopped, and what to do."""


def read_every(device: torch.device) -> int:
    """Batches that are read together."""
    return 1 if device.type == "cpu" else READ_EVERY


@dataclass
class Group:
    """Statistics that are reported together."""

    stats: dict[str, Any]
    weight: Any = None


@dataclass
class Update:
    """What an update reports; numbers, or tensors of one number that are not read yet."""

    norm: Any
    """Of the gradient."""
    made: Any
    """Whether gradient and losses are finite, and so weights have changed."""
    loss_scale: Any
    rates: dict[str, float] = field(default_factory=dict)
    """Of the next update, and the seconds of this one."""
    seconds: float = 0.0
    """What the optimiser's step took the CPU."""


@dataclass
class Entry:
    """A batch; numbers, or tensors of one number that are not read yet."""

    ids: list[str]
    groups: list[Group] = field(default_factory=list)
    loss: Any = 0.0
    """Of this worker."""
    finite: Any = True
    """Whether the losses of all workers are."""
    wish: Any = 0
    """Of all workers; see `Run.wish`."""
    update: Update | None = None
    """That ends with this batch."""

    def holders(self) -> list[dict[str, Any]]:
        """All dictionaries that may hold tensors."""
        own = [vars(self), *(d for group in self.groups for d in (vars(group), group.stats))]
        return own if self.update is None else [*own, vars(self.update)]


def fetch(holders: Iterable[dict[str, Any]]) -> None:
    """Replace tensors of one number by the number, all in one copy; other values stay."""
    places = defaultdict(list)
    for holder in holders:
        for key, value in holder.items():
            if isinstance(value, Tensor) and value.numel() == 1:
                places[value.dtype].append((holder, key))
    if not places:
        return
    parts = [
        torch.cat([holder[key].detach().flatten() for holder, key in own]).double()
        for own in places.values()
    ]
    numbers = torch.cat(parts).tolist()
    for (holder, key), number in zip(chain(*places.values()), numbers, strict=True):
        holder[key] = number


class Ledger:
    """Notes what batches report, and passes it on to ESPnet's reporter when it is read.

    Args:
        reporter: of a part of the epoch, training or validation.
        run: the training.
        device: where the numbers are.

    Attributes:
        bad_updates: in a row, the last ones that were read, that were left out.
        updated: whether one that was read was made.
    """

    def __init__(self, reporter: SubReporter, run: Run, device: torch.device) -> None:
        self.reporter, self.run, self.read_every = reporter, run, read_every(device)
        self.entries: list[Entry] = []
        self.bad_updates, self.updated = 0, False

    def begin(self, ids: list[str], seconds: float) -> Entry:
        """A new batch, for which so many seconds were waited."""
        self.entries.append(Entry(list(ids), [Group({"iter_time": seconds})]))
        return self.entries[-1]

    def close(self, within_update: bool = False) -> None:
        """A batch is complete: read if it is time, within an update only if that costs nothing."""
        if len(self.entries) >= self.read_every and (self.read_every == 1 or not within_update):
            self.read()

    def fetch(self) -> None:
        """Read the numbers of all batches, of the current one as far as it has come."""
        fetch(holder for entry in self.entries for holder in entry.holders())

    def read(self) -> None:
        """Report all batches.

        Raises:
            TrainingStopped: a loss is not finite, or too many updates in a row were left out.
        """
        self.fetch()
        entries, self.entries = self.entries, []
        for entry in entries:
            self._report(entry)
            self.run.hear(entry.wish)
            self.reporter.next()

    def _register(self, stats: dict[str, Any], weight: Any = None) -> None:
        self.reporter.register(stats, weight)
        if self.reporter.key == "train":
            self.run.shown.note(stats)

    def _report(self, entry: Entry) -> None:
        first, *others = entry.groups
        self._register(first.stats, first.weight)  # from here on the reporter counts it
        if not entry.finite:
            self._stop(f"the loss is not finite ({entry.loss})", entry)
        for group in others:
            self._register(group.stats, group.weight)
        if entry.update is not None:
            self._report_update(entry.update, entry)

    def _report_update(self, update: Update, entry: Entry) -> None:
        options = self.run.options
        if update.made:
            self.bad_updates, self.updated = 0, True
            clipped = 100.0 if update.norm > options.grad_clip else 0.0
            stats = {"grad_norm": update.norm, "clip": clipped, "loss_scale": update.loss_scale}
            self.reporter.register({**stats, "optim_step_time": update.seconds})
        else:
            self.bad_updates += 1
            logging.warning("the gradient norm is %s: the update was left out", update.norm)
            if self.bad_updates >= options.max_nonfinite_updates:
                self._stop(f"the gradient norm was not finite in {self.bad_updates} updates", entry)
        self._register(update.rates)

    def _stop(self, what: str, entry: Entry) -> NoReturn:
        utterances = from_all_workers(entry.ids)
        iteration, total = self.reporter.count, self.reporter.total_count
        options = self.run.options
        message = (
            f"training stopped: {what} in epoch {self.reporter.get_epoch()}, batch {iteration} "
            f"of the epoch, batch {total} of the run (update {-(-total // options.accum_grad)}).\n"
            f"utterances of the batch: {' '.join(utterances)}\n"
            f"last good checkpoint: {self.run.last}\n"
            "what to do: listen to these utterances and leave out what is broken, or lower the "
            "learning rate; starting again goes on from the last good checkpoint."
        )
        if rank() == 0:
            write_text(Path(options.output_dir, STOPPED), message + "\n")
        logging.error(message)
        raise TrainingStopped(message)
