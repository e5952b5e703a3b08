"""Updates of the weights that leave out a broken gradient without asking what it is.

An update is broken if its gradient's norm or the loss of one of its batches is not finite. A fused
Adam is told by a number on the GPU and leaves weights and moments as they are; the CPU sees later
what happened (`ledger`). A left-out update then counts in the schedule of the learning rate. Other
optimisers, and float16 with its loss scale, are called only if the update is not broken: that is
the wait, one an update, in which the ledger's numbers come along.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from torch import Tensor

from speechlm.tasks.accumulation import Accumulation
from speechlm.tasks.ledger import Ledger, Update


class Updates:
    """Backward passes and updates of an epoch.

    Args:
        model: as it is called.
        optimizers, schedulers: ESPnet's; schedulers may be None.
        scaler: of float16, or None.
        options: the trainer's.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        schedulers: Sequence[Any],
        scaler: torch.amp.GradScaler | None,
        options: Any,
    ) -> None:
        self.model, self.optimizers, self.schedulers = model, optimizers, schedulers
        self.scaler, self.options = scaler, options
        self.accumulation = Accumulation(model, options.accum_grad)
        self.on_device = scaler is None and all(map(skips_on_device, optimizers))
        self.finite: Tensor | None = None

    def backward(self, loss: Tensor, finite: Tensor) -> None:
        """Add a batch's gradient.

        Args:
            loss: (1,), already divided by the batches of an update.
            finite: () bool, whether the losses of all workers are.
        """
        self.finite = finite if self.finite is None else self.finite & finite
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        if self.options.accum_grad > 1:
            self.accumulation.after_backward()

    def make(self, ledger: Ledger) -> None:
        """The update from the gradients so far; noted in the last entry of the ledger."""
        if self.scaler is not None:
            for optimizer in self.optimizers:
                self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.options.grad_clip, self.options.grad_clip_type
        )
        assert self.finite is not None
        made, self.finite = torch.isfinite(norm) & self.finite, None
        scale = 1.0 if self.scaler is None else self.scaler.scale(norm.new_ones(()))
        update = ledger.entries[-1].update = Update(norm, made, scale)
        if not self.on_device:
            ledger.fetch()  # from here on `update` has numbers
        begun = time.perf_counter()
        if self.on_device or update.made:
            self._step(made)
        update.seconds = time.perf_counter() - begun
        if self.scaler is not None:
            self.scaler.update()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        update.rates = {
            f"optim{i}_lr{j}": group["lr"]
            for i, optimizer in enumerate(self.optimizers)
            for j, group in enumerate(optimizer.param_groups)
        }

    def _step(self, made: Tensor) -> None:
        for optimizer, scheduler in zip(self.optimizers, self.schedulers, strict=True):
            if self.on_device:
                step_unless(optimizer, ~made)
            elif self.scaler is not None:
                self.scaler.step(optimizer)
            else:
                optimizer.step()
            if isinstance(scheduler, AbsBatchStepScheduler):
                scheduler.step()


def skips_on_device(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it can leave out a step by a number that only the GPU knows."""
    fused = all(group.get("fused") for group in optimizer.param_groups)
    return fused and isinstance(optimizer, torch.optim.Adam)


def step_unless(optimizer: Any, broken: Tensor) -> None:
    """A step of a fused Adam that changes nothing, the count of steps included, if () is True.

    It is the way in which torch's `GradScaler` has a fused optimiser leave out a step.
    """
    optimizer.found_inf = broken.float()
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf
