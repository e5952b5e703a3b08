"""What the workers of a training tell each other of a batch: all of it in one exchange.

Nothing here is read on the host: on a GPU the exchange is one more thing that the GPU is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from speechlm.tasks.workers import from_all_workers


@dataclass
class Told:
    """A batch, of all workers together."""

    stats: dict[str, Tensor]
    """Statistics, each a mean with the workers' weights."""
    weight: Tensor
    """Sum of the workers' weights: of masked frames, sentences or tokens."""
    finite: Tensor
    """() bool: whether the loss is finite at all workers."""
    wish: Tensor | int
    """The largest wish of a worker (`Run.wish`)."""


def tell(loss: Tensor, stats: dict[str, Tensor], weight: Tensor, wish: int) -> Told:
    """Averages over the workers; of a single worker the values as they are.

    Args:
        loss: (1,), of this worker.
        stats: (1,) each; not a number where this worker has none.
        weight: (1,), what the means are of.
        wish: what this worker asks of all; 0: nothing.
    """
    finite = torch.isfinite(loss.detach()).all()
    if not torch.distributed.is_initialized():
        return Told(stats, weight, finite, wish)
    # A row of a worker: wish, finite, weight, and each statistic times the weight
    row = [finite.new_full((), wish, dtype=torch.float32), finite.float(), weight.sum().float()]
    row += [(x * weight.to(x.dtype)).sum().float() for x in stats.values()]
    own = torch.stack(row).detach()
    rows = own.new_empty(torch.distributed.get_world_size(), len(row))
    torch.distributed.all_gather(list(rows.unbind()), own)
    total = rows[:, 2].sum()
    # A worker without a value of a statistic counts as the mean of the others.
    means = rows[:, 3:].nanmean(0) * len(rows) / total
    averaged = dict(zip(stats, means.unbind(), strict=True))
    return Told(averaged, total, rows[:, 1].min() > 0, rows[:, 0].max())


def fewest(batches: Any) -> int | None:
    """How many batches of an epoch all workers have; None: not known before the last one."""
    try:
        number = len(batches)
    except TypeError:
        number = None
    numbers = from_all_workers([number])
    return None if None in numbers else min(numbers)


def together(batches: Iterable[Any], number: int | None, done: int = 0) -> Iterator[Any]:
    """A worker's batches, as many as all workers have.

    Where that is not known the workers tell each other before each batch, for which a GPU is waited
    for.

    Args:
        batches: of this worker.
        number: of the batches that all workers have in the epoch (`fewest`).
        done: batches of the epoch before the first of `batches`.
    """
    if not torch.distributed.is_initialized():
        yield from batches
        return
    for count, batch in enumerate(batches, done + 1):
        if count > number if number is not None else not all(from_all_workers([True])):
            return
        yield batch
    if number is None:
        from_all_workers([False])
