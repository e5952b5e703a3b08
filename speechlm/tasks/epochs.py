"""ESPnet's view of data that name the batches of any epoch themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from espnet2.iterators.abs_iter_factory import AbsIterFactory
from torch.utils.data import DataLoader, Dataset

from speechlm.tasks.on_host import keep_on_host


class Epochs(Protocol):
    """Makes the batches of any epoch."""

    def epoch(self, number: int) -> Dataset:
        """The batches of epoch 1, 2, ..., each made when it is asked for."""


class EpochIterFactory(AbsIterFactory):
    """Loads the batches of `Epochs`, in as many processes as asked for.

    Args:
        epochs: makes the batches.
        num_workers: processes that load them; 0: none of their own.
        pin_memory: put them where a GPU reads them by itself.
        on_host: leave it to the model to bring them to its device.
    """

    def __init__(
        self, epochs: Epochs, num_workers: int, pin_memory: bool, on_host: bool = False
    ) -> None:
        self.epochs, self.num_workers, self.pin_memory = epochs, num_workers, pin_memory
        self.on_host = on_host

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> DataLoader:
        """The batches of epoch 1, 2, ...; `shuffle` is decided by the data's mode."""
        collate: Callable[[Any], Any] | None = keep_on_host if self.on_host else None
        return DataLoader(
            self.epochs.epoch(epoch),
            batch_size=None,
            num_workers=self.num_workers,
            multiprocessing_context="fork" if self.num_workers else None,
            prefetch_factor=4 if self.num_workers else None,
            pin_memory=self.pin_memory,
            collate_fn=collate,
        )
