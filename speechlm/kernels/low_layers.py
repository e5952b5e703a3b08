"""Layers of a Transformer in autocast's type throughout, for GPUs.

Autocast by itself casts each weight on its own, takes norms and what is added to their results in
float32, and casts what goes into each product back. Here all weights of a layer are cast by one
kernel, and so are their gradients; norms (whose sums are in float32 as ever) and residuals are in
autocast's type, which is less than half of the bytes between products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from speechlm.kernels import fast
from speechlm.kernels.cast_weights import cast_weights
from speechlm.kernels.products import compute_type

LOW = (torch.bfloat16, torch.float16)


def low_type(x: Tensor) -> torch.dtype | None:
    """The type of layers that are computed in it throughout; None: they take autocast as it is."""
    dtype = compute_type(x)
    autocast = torch.is_autocast_enabled(x.device.type)
    return dtype if autocast and dtype in LOW and fast("layers", x) else None


def in_type(values: Any, dtype: torch.dtype) -> Any:
    """The same tuple, list or dict with its floating-point tensors in that type."""

    def cast(value: Any) -> Any:
        floating = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(dtype) if floating else value

    return tree_map(cast, values)


def run_low(layer: nn.Module, x: Tensor) -> Tensor:
    """layer(x): as `low_layer` under autocast on GPUs, as it is elsewhere."""
    dtype = low_type(x)
    return layer(x) if dtype is None else low_layer(layer, x.to(dtype))


def low_layer(layer: nn.Module, x: Tensor, *shared: Any) -> Tensor:
    """layer(x, *shared), computed in the type of x without autocast.

    Args:
        layer: its weights may have another type.
        x: (B, T, D).
        shared: what it gets beside x, `in_type` of x.
    """
    weights = cast_weights(layer, x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return functional_call(layer, weights, (x, *shared))
