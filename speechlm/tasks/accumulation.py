"""Updates of accumulated batches that count by what they hold, and exchange gradients once.

An update is made from A batches, whose losses are divided by A. The loss of batch i is a mean
over its n_i frames, sentences or tokens, of all workers, so that a sentence counts the less, the
more others its batch has. The authors divide the sum over all A batches by n = n_1 + ... + n_A.
n_i is what a model returns as weight; that of masked frames is drawn in the forward pass, and n is
known behind the last batch only. So losses are multiplied by n_i / n_1, and the gradient of the
update by A n_1 / n:

    (A n_1 / n) (1 / A) sum_i (n_i / n_1) mean_i = (1 / n) sum_i n_i mean_i

`DistributedDataParallel` adds up the gradients of all workers after each backward pass; here it
does so after the last of an update alone (`no_sync`).
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


class Accumulation:
    """The weights of the batches of an update.

    Args:
        model: as it is called.
        accumulated: A, batches of an update.
    """

    def __init__(self, model: torch.nn.Module, accumulated: int) -> None:
        self.model, self.accumulated = model, accumulated
        self.batches = 0
        self.first = self.sum = torch.tensor(0.0)

    def share(self, loss: Tensor, weight: Tensor, total: Tensor) -> Tensor:
        """A batch's part of the loss of its update, at this worker.

        Args:
            loss: a mean over the batch.
            weight: what the mean is of, at this worker.
            total: the same, at all workers.
        """
        if self.accumulated > 1:
            loss = loss * self._weigh(total)
        if torch.distributed.is_initialized():
            # The mean over all workers; `DistributedDataParallel` divides by their number again
            loss = (loss * weight.to(loss.dtype)).sum() / total
            loss = loss * torch.distributed.get_world_size()
        return loss / self.accumulated

    def _weigh(self, total: Tensor) -> Tensor:
        """n_i / n_1 of the next batch, from n_i."""
        count = total.sum().float()
        if self.batches % self.accumulated == 0:
            self.first, self.sum = count.clamp(min=1.0), torch.zeros_like(count)
        self.sum = self.sum + count
        self.batches += 1
        return count / self.first

    def after_backward(self) -> None:
        """Behind the last backward pass of an update: gradient times A n_1 / n."""
        if self.batches % self.accumulated:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if gradients:
            factor = self.accumulated * self.first / self.sum.clamp(min=1.0)
            torch._foreach_mul_(gradients, factor)

    def exchange(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """A block around a batch's passes; workers exchange gradients in the last of an update."""
        if last or not isinstance(self.model, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.model.no_sync()
