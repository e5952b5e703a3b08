"""Matrix products and linear layers.

On a CPU oneDNN does float32 products a tenth faster than the library that torch takes for them,
where the right operand is a weight. Backward passes are written out so that they use it too.

N rows, D_in and D_out widths.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.kernels import fast

Backward = TypeVar("Backward", bound=Callable[..., Any])


@functools.cache
def _onednn_types() -> tuple[torch.dtype, ...]:
    """What this build and processor multiply with oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return ()
    wide = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if wide else (torch.float32,)


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """rows . weight^T + bias: (N, D_in), (D_out, D_in), (D_out,) -> (N, D_out). No gradient."""
    if fast("products", rows) and rows.dtype in _onednn_types():
        return _onednn(rows, weight, bias)
    return F.linear(rows, weight, bias)


def _onednn(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


def compute_type(x: Tensor) -> torch.dtype:
    """The type in which products of x are done: autocast's, or its own."""
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return x.dtype


def without_autocast(backward: Backward) -> Backward:
    """Runs a backward pass outside of autocast: its types are those that the forward pass chose.

    Autocast is usually over when gradients are computed, but a user may call `backward()` in it.
    """

    @functools.wraps(backward)
    def run(ctx: Any, *gradients: Tensor | None) -> Any:
        device = next(x.device.type for x in gradients if x is not None)
        with torch.autocast(device, enabled=False):
            return backward(ctx, *gradients)

    return cast(Backward, run)


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """layer(x): (..., D_in) -> (..., D_out), in autocast's type where that is on."""
    return affine(x, layer.weight, layer.bias)


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x . weight^T + bias: (..., D_in), (D_out, D_in), (D_out,) -> (..., D_out)."""
    if not fast("products", x):
        return F.linear(x, weight, bias)
    return _Linear.apply(x.to(compute_type(x)), weight, bias, False)


def gelu_linear(hidden: Tensor, layer: nn.Linear) -> Tensor:
    """layer(gelu(hidden)), which keeps the GELU's input only.

    The GELU is cheap to compute again in the backward pass, and its output is the largest
    activation of a Transformer layer.
    """
    if not fast("gelu", hidden):
        return linear(F.gelu(hidden), layer)
    return _Linear.apply(hidden.to(compute_type(hidden)), layer.weight, layer.bias, True)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.gelu = gelu
        rows = (F.gelu(x) if gelu else x).flatten(0, -2)
        y = product(rows, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
        return y.view(*x.shape[:-1], len(weight))

    @staticmethod
    @without_autocast
    def backward(ctx, gradient: Tensor):
        # y = h W^T + b with h = x or GELU(x):  dW = dy^T h,  dh = dy W,  db = sum of dy over rows
        x, weight = ctx.saved_tensors
        rows = gradient.flatten(0, -2)
        d_x = d_weight = None
        if ctx.needs_input_grad[1]:
            inputs = (F.gelu(x) if ctx.gelu else x).flatten(0, -2)
            d_weight = (rows.T @ inputs).to(weight.dtype)
            del inputs
        if ctx.needs_input_grad[0]:
            d_x = product(rows, weight.to(rows.dtype).T).view(x.shape)
            if ctx.gelu:
                d_x = torch.ops.aten.gelu_backward.grad_input(d_x, x, grad_input=d_x)
        d_bias = rows.sum(0, dtype=weight.dtype) if ctx.needs_input_grad[2] else None
        return d_x, d_weight, d_bias, None
