"""Checkpoints inside an epoch: every some minutes, and when a signal asks the training to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from speechlm.checkpoints.trainer_files import CHECKPOINT
from speechlm.data.disk import CannotWrite
from speechlm.tasks.accumulation import Accumulation
from speechlm.tasks.interrupts import Interrupted, StopRequest, signals_held_back
from speechlm.tasks.position import (
    random_state,
    restore_random_state,
    restore_statistics,
    statistics_state,
    without_first,
)
from speechlm.tasks.saving import save_file
from speechlm.tasks.showing import Shown
from speechlm.tasks.workers import at_first_worker, from_all_workers, rank

INSIDE = "inside"
"""Key of a checkpoint that was made inside an epoch; its `reporter` has the epochs before."""
_SAVE, _STOP = 1, 2


class Run:
    """A training in progress: what a checkpoint needs, and when the last one was made.

    Args:
        options: the trainer's `Options`.
        model: the network, not as ESPnet wraps it for several workers.
        optimizers, schedulers: ESPnet's.
    """

    def __init__(self, options: Any, model: Any, optimizers: Any, schedulers: Any) -> None:
        self.options, self.model = options, model
        self.optimizers, self.schedulers = optimizers, schedulers
        self.request = StopRequest()
        self.shown = Shown(options.max_epoch, options.accum_grad)
        self.finished: dict[int, Any] = {}
        self.position: dict[str, Any] | None = None
        self.progress: Progress | None = None
        self.last = "none yet"
        self.heard = 0
        self.saved_at = time.monotonic()

    def resumed(self, states: dict[str, Any]) -> None:
        """Take over what a checkpoint says of the epochs, and of the one that was begun."""
        self.position = states.get(INSIDE)
        self._note(states)

    def saved(self, states: dict[str, Any]) -> None:
        """Note that a checkpoint was made."""
        self.saved_at = time.monotonic()
        self._note(states)

    def _note(self, states: dict[str, Any]) -> None:
        self.finished = states["reporter"]["stats"]
        inside = states.get(INSIDE)
        self.last = f"{Path(self.options.output_dir) / CHECKPOINT} "
        if inside is None:
            self.last += f"(epoch {states['reporter']['epoch']})"
        else:
            self.last += f"(epoch {inside['epoch']}, {inside['batches']} batches)"

    @property
    def done(self) -> int:
        """Batches of the epoch that are behind the last update."""
        return self.progress.batches if self.progress is not None else 0

    def wish(self) -> int:
        """What this worker asks of all: nothing (0), `_SAVE`, or `_STOP` if it has got a signal."""
        wish = _STOP if self.request.name else 0
        seconds = 60 * self.options.checkpoint_minutes
        if rank() == 0 and seconds and time.monotonic() - self.saved_at >= seconds:
            wish = max(wish, _SAVE)
        return wish

    def hear(self, wish: float) -> None:
        """Note a wish that all workers have been told of."""
        self.heard = max(self.heard, int(wish))

    def wanted(self) -> int:
        """What all workers do now: the largest wish that they have heard of.

        Where there are several they tell each other with each batch (`exchange.tell`).
        """
        wanted, self.heard = self.heard, 0
        return wanted if torch.distributed.is_initialized() else self.wish()


class Progress:
    """How far the epoch has come, from which `save` makes a checkpoint.

    Args:
        run: the training.
        reporter: of the epoch's training part.
        ledger: of the epoch's training part, with what it read of the updates.
        scaler: of mixed precision, or None.

    Attributes:
        batches: of the epoch, that are behind the last update.
        random: this worker's `random_state` when the training part had ended; None until then.
    """

    def __init__(self, run: Run, reporter: Any, ledger: Any, scaler: Any) -> None:
        self.run, self.reporter, self.ledger, self.scaler = run, reporter, ledger, scaler
        self.batches = 0
        self.random: dict[str, Any] | None = None
        self.resume_at: dict[str, Any] | None = None
        if run.position is not None:
            self._restore(run.position)
            run.position = None

    def _restore(self, position: dict[str, Any]) -> None:
        # the same number of updates, though each may have fewer and larger batches now
        updates = position["batches"] // position["accumulated"]
        self.batches = updates * self.run.options.accum_grad
        restore_statistics(self.reporter, position["statistics"])
        self.ledger.bad_updates = position["bad_updates"]
        self.ledger.updated = position["updated"]
        workers = position["random"]
        if len(workers) == len(from_all_workers([rank()])):
            self.resume_at = workers[rank()]
        else:
            logging.warning(
                "the checkpoint inside epoch %d is of %d workers, others than now: from here on "
                "batches and random numbers are not those that would have followed",
                *(position["epoch"], len(workers)),
            )
        logging.info("epoch %d goes on after %d batches", position["epoch"], self.batches)

    def training(self, batches: Iterable[Any], accumulation: Accumulation) -> TrainingBatches:
        """The batches that the epoch still has; checkpoints are made between updates."""
        return TrainingBatches(self, batches, accumulation)

    def validation(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Batches of the validation; the state that is saved is that of the training's end."""
        with signals_held_back():
            iterator = iter(batches)
        for batch in iterator:
            yield batch
            self.consider()

    def consider(self) -> None:
        """Save if it is time, or a signal asks for it; then the training ends.

        Raises:
            Interrupted: a signal has come, and the state is saved.
            CannotWrite: a signal has come, and the state could not be saved.
        """
        wanted = self.run.wanted()
        if not wanted:
            return
        try:
            self.save()
        except CannotWrite as error:
            if wanted == _STOP:
                raise
            self.run.saved_at = time.monotonic()
            logging.error("%s; the training goes on, the next attempt is due later", error)
        if wanted == _STOP:
            name = " ".join({n for n in from_all_workers([self.run.request.name]) if n})
            if rank() == 0:
                logging.warning(
                    "stopped by %s after %d batches of epoch %d; the state is saved, start it again"
                    " to go on",
                    *(name, self.batches, self.reporter.get_epoch()),
                )
            raise Interrupted

    def save(self) -> None:
        """Write the checkpoint; all workers take part.

        Raises:
            TrainingStopped: what has not been read yet tells of a loss that is not finite.
        """
        self.ledger.read()
        run, epoch = self.run, self.reporter.get_epoch()
        workers = from_all_workers([self.random or random_state()])

        def write() -> None:
            before = {number: s for number, s in run.finished.items() if number < epoch}
            states = {
                "model": run.model.state_dict(),
                "reporter": {"stats": before, "epoch": epoch - 1},
                "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
                "schedulers": [s.state_dict() if s is not None else None for s in run.schedulers],
                "scaler": self.scaler.state_dict() if self.scaler is not None else None,
                INSIDE: {
                    "epoch": epoch,
                    "accumulated": self.run.options.accum_grad,
                    "batches": self.batches,
                    "bad_updates": self.ledger.bad_updates,
                    "updated": self.ledger.updated,
                    "statistics": statistics_state(self.reporter),
                    "random": workers,
                },
            }
            save_file(states, Path(run.options.output_dir) / CHECKPOINT)
            run.saved(states)

        at_first_worker(write)


class TrainingBatches:
    """The batches of an epoch from where it stands, with a look at the clock between updates."""

    def __init__(
        self, progress: Progress, batches: Iterable[Any], accumulation: Accumulation
    ) -> None:
        self.progress, self.all, self.accumulation = progress, batches, accumulation

    def __len__(self) -> int:
        """Batches of the whole epoch, from which follows how often to write to the log."""
        return len(self.all)  # type: ignore[arg-type]  # of a loader; an iterator has none

    def __iter__(self) -> Iterator[Any]:
        progress, first = self.progress, self.progress.batches
        batches = without_first(self.all, first) if first else self.all
        with signals_held_back():
            iterator = iter(batches)
        if progress.resume_at is not None:
            restore_random_state(progress.resume_at)  # after the loader has drawn its own seed
        number = first
        for number, batch in enumerate(iterator, first + 1):
            last = (number - first) % self.accumulation.accumulated == 0
            with self.accumulation.exchange(last):
                yield batch  # forward and backward pass, and the update
            if last:
                progress.batches = number
                progress.consider()
        progress.batches, progress.random = number, random_state()
