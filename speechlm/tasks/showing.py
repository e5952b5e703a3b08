"""What is shown of a training while it runs: updates of all, loss, accuracies, time left."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from speechlm.progress import Progress

_RECENT = 50
"""Updates over which values are averaged."""


class Shown:
    """Shows a training of some epochs, of which each has as many updates.

    Args:
        max_epoch: how many epochs.
        accumulated: batches of an update.
    """

    def __init__(self, max_epoch: int, accumulated: int) -> None:
        self.max_epoch, self.accumulated = max_epoch, accumulated
        self._progress: Progress | None = None
        self._values: dict[str, deque[float]] = {}

    def begin_epoch(self, epoch: int, batches: Any, done: int) -> None:
        """Note where the training stands, from which its updates are counted.

        Args:
            epoch: its number, from 1.
            batches: of the epoch, with a length if it is known.
            done: how many of them an interrupted run has done.
        """
        length = _length(batches)
        if self._progress is None:
            # Batches behind the last whole update of an epoch make none.
            updates = 0 if length is None else length // self.accumulated
            first = (epoch - 1) * updates + done // self.accumulated
            self._progress = Progress("updates", self.max_epoch * updates or None, first)

    def note(self, stats: Mapping[str, Any]) -> None:
        """Note what a part of a batch reports; the time of an update comes last."""
        for name, value in stats.items():
            if (name == "loss" or "acc" in name) and isinstance(value, int | float):
                self._values.setdefault(name, deque(maxlen=_RECENT)).append(float(value))
        if "train_time" in stats and self._progress is not None:
            self._progress.advance(more=self._means())

    def validation(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches of a validation, which makes no updates."""
        for number, batch in enumerate(batches, 1):
            yield batch
            if self._progress is not None:
                self._progress.advance(0, f"validation, batch {number}")

    def end(self) -> None:
        """The training has ended, or is interrupted."""
        if self._progress is not None:
            self._progress.close()

    def _means(self) -> str:
        means = {name: sum(values) / len(values) for name, values in self._values.items()}
        return ", ".join(f"{name.replace('_', ' ')} {mean:.3g}" for name, mean in means.items())


def _length(batches: Any) -> int | None:
    try:
        return len(batches)
    except TypeError:  # of an iterator
        return None
