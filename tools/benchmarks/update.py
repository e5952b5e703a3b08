"""What clipping and the optimiser ask of a GPU after a step, counted without one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

from benchmarks.pretended_gpu import META
from benchmarks.trace import Trace

OPTIMIZER: dict[str, Any] = {"lr": 5e-4, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.01}
"""AdamW of the paper's pre-training."""
CLIP = 10.0
"""Largest norm of the gradients of Base; of Large it is 1."""
VARIANTS = ("foreach", "fused")
"""torch's: operations on lists of tensors, which it takes by itself, or one kernel for all."""

MODULES = ("torch.optim.optimizer", "torch.utils._foreach_utils")
"""Where torch says which devices have such kernels."""


def traced_update(parameters: Sequence[torch.Tensor], variant: str) -> Trace:
    """Clips gradients by their norm and takes a step of AdamW, its moments being there already.

    Args:
        parameters: on the meta device, those that are trained.
        variant: one of `VARIANTS`.
    """
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    trace = Trace(lambda modules: f"clipping, AdamW ({variant})")
    with lists_on_meta():
        optimizer = torch.optim.AdamW(parameters, **{**OPTIMIZER, variant: True})
        optimizer.step()
        with trace:
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
    return trace


@contextmanager
def lists_on_meta() -> Iterator[None]:
    """torch's kernels on lists of tensors serve the meta device, too."""
    with ExitStack() as stack:
        for module in map(importlib.import_module, MODULES):
            for sort in ("foreach", "fused"):
                name = f"_get_{sort}_kernels_supported_devices"
                stack.enter_context(mock.patch.object(module, name, lambda: ["cuda", META]))
        yield
