"""Learning rates that change with every update, for ESPnet's trainer.

`linear_decay` (pre-training: warm-up, then linearly to 0) is defined here. The tri-stage schedule
of fine-tuning (0.1 warm-up, 0.4 hold, 0.5 exponential decay) is ESPnet's own `tristagelr`.
Importing this module makes `--scheduler linear_decay` known to ESPnet.
"""

from __future__ import annotations

import argparse
import logging

import torch
from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from espnet2.tasks.abs_task import scheduler_classes
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler


class LinearDecayLR(LRScheduler, AbsBatchStepScheduler):
    """Linear warm-up to the optimiser's rate, then linear decay to 0.

    Update n = 1, 2, ... has rate lr * n / warmup_steps up to the warm-up's end, and after it
    lr * (max_steps - n) / (max_steps - warmup_steps). Source: the paper's setup (doc/paper_map.md).

    Args:
        optimizer: whose rates to set.
        warmup_steps: updates of the warm-up (32,000 in the paper).
        max_steps: update at which the rate is 0 (400,000 in the paper).
    """

    def __init__(self, optimizer: torch.optim.Optimizer, warmup_steps: int, max_steps: int) -> None:
        if not 0 <= warmup_steps < max_steps:
            raise ValueError(
                f"warmup_steps ({warmup_steps}) must be at least 0 and below max_steps "
                f"({max_steps}), which is max_epoch x num_iters_per_epoch / accum_grad if it is "
                "not set; set another with --scheduler_conf warmup_steps=N, or train longer"
            )
        self.warmup_steps, self.max_steps = warmup_steps, max_steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Rates of the next update, one a parameter group."""
        n = min(self.last_epoch + 1, self.max_steps)
        if n < self.warmup_steps:
            factor = n / self.warmup_steps
        else:
            factor = (self.max_steps - n) / (self.max_steps - self.warmup_steps)
        return [rate * factor for rate in self.base_lrs]


scheduler_classes["linear_decay"] = LinearDecayLR


def complete_schedule(args: argparse.Namespace) -> None:
    """Set the schedule's `max_steps`, and `warmup_steps` given as a share, from the run's length.

    Raises:
        ValueError: the run's length is not known, or an epoch does not hold whole updates.
    """
    if args.accum_grad > 1 and (args.num_iters_per_epoch or 1) % args.accum_grad:
        raise ValueError(
            f"num_iters_per_epoch ({args.num_iters_per_epoch}) must be a multiple of accum_grad "
            f"({args.accum_grad}), so that every epoch ends with a whole update"
        )
    if args.scheduler not in ("linear_decay", "tristagelr"):
        return
    conf = dict(args.scheduler_conf)
    if "max_steps" not in conf:
        if args.num_iters_per_epoch is None:
            raise ValueError(
                f"the length of schedule {args.scheduler} is not known: set num_iters_per_epoch "
                "(updates = max_epoch x num_iters_per_epoch / accum_grad), or max_steps in "
                "scheduler_conf"
            )
        conf["max_steps"] = args.max_epoch * args.num_iters_per_epoch // args.accum_grad
    elif args.scheduler == "linear_decay" and args.num_iters_per_epoch is not None:
        updates = args.max_epoch * args.num_iters_per_epoch // args.accum_grad
        if updates > conf["max_steps"]:
            logging.warning(
                "of %d updates those from %d on change nothing: the schedule ends there "
                "(scheduler_conf max_steps)",
                updates,
                conf["max_steps"],
            )
    if args.scheduler == "linear_decay" and "warmup_steps" not in conf:
        conf["warmup_steps"] = round(0.08 * conf["max_steps"])
    args.scheduler_conf = conf
