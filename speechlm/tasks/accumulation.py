"""Accumulated batches that count by what they hold.

ESPnet makes an update from A batches whose losses it divides by A. The loss of batch i is a mean
over its n_i sentences, or tokens, of all workers, so that a sentence counts the less, the more
others its batch has. The authors divide the sum over all A batches by n = n_1 + ... + n_A. With the
loss of batch i times A n_i / n, ESPnet's (1 / A) sum_i (A n_i / n) mean_i is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import torch
import torch.distributed
from torch import Tensor

Batch = tuple[list[str], dict[str, Tensor]]


class Accumulation:
    """The batches of an epoch, and the factor for the loss of each.

    Args:
        batches: ids and tensors of each batch of this worker; all workers have equally many.
        accumulated: A, batches of an update.
        count: n_i of this worker, from the tensors of a batch.
        device: where workers exchange numbers.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        accumulated: int,
        count: Callable[[dict[str, Tensor]], int],
        device: str,
    ) -> None:
        self.batches, self.accumulated, self.count = batches, accumulated, count
        self.device, self.factor = device, 1.0

    def __iter__(self) -> Iterator[Batch]:
        """The batches; the next A are read before the first of them is given."""
        batches = iter(self.batches)
        while group := list(islice(batches, self.accumulated)):
            counts = torch.tensor([float(self.count(tensors)) for _, tensors in group])
            counts = counts.to(self.device)
            if torch.distributed.is_initialized():
                torch.distributed.all_reduce(counts)
            factors = len(group) * counts / counts.sum()
            for batch, self.factor in zip(group, factors.tolist(), strict=True):
                yield batch

    def weigh(self, _module: Any, _args: Any, output: tuple[Tensor, Any, Any]) -> Any:
        """Forward hook of an ESPnet model: loss times the factor of the batch."""
        loss, stats, weight = output
        return loss * self.factor, stats, weight
