"""ESPnet's view of data that name the batches of any epoch themselves."""

from __future__ import annotations

from typing import Protocol

from espnet2.iterators.abs_iter_factory import AbsIterFactory
from torch.utils.data import DataLoader, Dataset


class Epochs(Protocol):
    """Makes the batches of any epoch."""

    def epoch(self, number: int) -> Dataset:
        """The batches of epoch 1, 2, ..., each made when it is asked for."""


class EpochIterFactory(AbsIterFactory):
    """Loads the batches of `Epochs`, in as many processes as asked for."""

    def __init__(self, epochs: Epochs, num_workers: int, pin_memory: bool) -> None:
        self.epochs, self.num_workers, self.pin_memory = epochs, num_workers, pin_memory

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> DataLoader:
        """The batches of epoch 1, 2, ...; `shuffle` is decided by the data's mode."""
        return DataLoader(
            self.epochs.epoch(epoch),
            batch_size=None,
            num_workers=self.num_workers,
            multiprocessing_context="fork" if self.num_workers else None,
            prefetch_factor=4 if self.num_workers else None,
            pin_memory=self.pin_memory,
        )
