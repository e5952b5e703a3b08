"""Parts of a Transformer layer for GPUs: products, and what stands between them as one kernel each.

The kernels between products are in triton_layers, behind operations of torch. Layers that are made
of these parts get their weights from cast_weights.

B rows, T frames, D model width.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechlm.kernels.gpu_attention import needing_triton, operation


def linear_beside(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """(x . weight^T + bias, x), (B, T, D_in) -> (B, T, D_out): for x that goes on beside a branch.

    What both give to the gradient of x is summed by the product itself: into the gradient of the
    second result, which nobody else may hold.
    """
    return _LinearBeside.apply(x, weight, bias)


class _LinearBeside(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return F.linear(x, weight, bias), x

    @staticmethod
    @once_differentiable
    def backward(ctx, d_y: Tensor, d_x: Tensor):
        # y = x W^T + b:  dx += dy W,  dW = dy^T x,  db = sum of dy over rows
        x, weight = ctx.saved_tensors
        rows, d_x = d_y.flatten(0, -2), d_x.contiguous()
        d_x.flatten(0, -2).addmm_(rows, weight)
        d_weight = rows.T @ x.flatten(0, -2)
        return d_x, d_weight, rows.sum(0, dtype=rows.dtype) if ctx.biased else None


def add_norm(
    branch: Tensor | None,
    bias: Tensor | None,
    residual: Tensor,
    norm: tuple[Tensor, Tensor] | None,
    seed: Tensor | None,
    dropout: float,
    epsilon: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """s = residual + dropout(branch + bias), and its layer norm.

    Args:
        branch: (B, T, D); None: zero, s is the residual.
        bias: (D,); None: zero.
        residual: (B, T, D).
        norm: weight and bias (D,) of the norm; None: none, and the second result is empty.
        seed: (1,) int64 on the device; None where dropout is 0.
        dropout: probability of dropping a number of branch + bias.
        epsilon: what the norm adds to the variance.

    Returns:
        s and its norm, (B, T, D) each.

    Raises:
        ValueError: Triton is not installed.
    """
    weight, shift = norm or (None, None)
    return _AddNorm.apply(branch, bias, residual, weight, shift, seed, dropout, epsilon)


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, branch, bias, residual, weight, shift, seed, dropout, epsilon):
        branch = None if branch is None else branch.contiguous()
        residual = residual.contiguous()
        total, normed, statistics = _add_norm(
            branch, bias, residual, weight, shift, seed, dropout, epsilon
        )
        if branch is None:
            total = residual
        ctx.options = dropout, branch is not None, bias is not None
        ctx.save_for_backward(*((total, weight, statistics) if weight is not None else ()), seed)
        ctx.set_materialize_grads(False)
        return total, normed

    @staticmethod
    @once_differentiable
    def backward(ctx, d_total: Tensor | None, d_normed: Tensor | None):
        dropout, branch, biased = ctx.options
        *saved, seed = ctx.saved_tensors
        total, weight, statistics = saved or (None, None, None)
        d_total, d_normed = (d if d is None else d.contiguous() for d in (d_total, d_normed))
        if not saved:
            d_normed = None
        d_residual, d_branch, parts = _add_norm_backward(
            d_total, d_normed, total, weight, statistics, seed, dropout, branch
        )
        if d_normed is None:
            d_residual = d_total
        if branch and not dropout:
            d_branch = d_residual
        # Sums over rows, of which every program has left a part: (P, 3, D) -> 3 of (D,)
        d_weight, d_shift, d_bias = parts.sum(0, dtype=d_residual.dtype)
        norms = (d_weight, d_shift) if saved else (None, None)
        d_bias = d_bias if biased else None
        return (d_branch if branch else None), d_bias, d_residual, *norms, None, None, None


def bias_gelu(x: Tensor, bias: Tensor, seed: Tensor | None, dropout: float) -> Tensor:
    """dropout(gelu(x + bias)): (B, T, D), (D,) -> (B, T, D); seed and dropout as in `add_norm`.

    Raises:
        ValueError: Triton is not installed.
    """
    return _BiasGelu.apply(x, bias, seed, dropout)


class _BiasGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, bias, seed, dropout):
        x = x.contiguous()
        ctx.save_for_backward(x, bias, seed)
        ctx.dropout = dropout
        return _bias_gelu(x, bias, seed, dropout)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out: Tensor):
        x, bias, seed = ctx.saved_tensors
        d_x, parts = _bias_gelu_backward(d_out.contiguous(), x, bias, seed, ctx.dropout)
        return d_x, parts.sum(0, dtype=bias.dtype), None, None


def _kernels() -> ModuleType:
    with needing_triton():
        from speechlm.kernels import triton_layers
    return triton_layers


@operation(
    "add_norm",
    "(Tensor? branch, Tensor? bias, Tensor residual, Tensor? weight, Tensor? shift, Tensor? seed, "
    "float dropout, float epsilon) -> (Tensor, Tensor, Tensor)",
)
def _add_norm(*inputs):
    return _kernels().add_norm(*inputs)


@operation(
    "add_norm_backward",
    "(Tensor? d_total, Tensor? d_normed, Tensor? total, Tensor? weight, Tensor? statistics, "
    "Tensor? seed, float dropout, bool branch) -> (Tensor, Tensor, Tensor)",
)
def _add_norm_backward(*inputs):
    return _kernels().add_norm_backward(*inputs)


@operation("bias_gelu", "(Tensor x, Tensor bias, Tensor? seed, float dropout) -> Tensor")
def _bias_gelu(*inputs):
    return _kernels().bias_gelu(*inputs)


@operation(
    "bias_gelu_backward",
    "(Tensor d_out, Tensor x, Tensor bias, Tensor? seed, float dropout) -> (Tensor, Tensor)",
)
def _bias_gelu_backward(*inputs):
    return _kernels().bias_gelu_backward(*inputs)


PARTS = 132
"""As many programs as triton_layers.PROGRAMS leave parts of a sum, at most."""


@_add_norm.register_fake
def _shapes_of_add_norm(branch, bias, residual, weight, *_: Any):
    nothing = residual.new_empty(0)
    rows = residual.shape[:-1].numel() if weight is not None else 0
    return (
        nothing if branch is None else torch.empty_like(residual),
        nothing if weight is None else torch.empty_like(residual),
        residual.new_empty(rows, 2, dtype=torch.float32),
    )


@_add_norm_backward.register_fake
def _shapes_of_add_norm_backward(d_total, d_normed, total, weight, stats, seed, dropout, branch):
    like = d_total if d_normed is None else d_normed
    nothing = like.new_empty(0)
    return (
        nothing if d_normed is None else torch.empty_like(like),
        torch.empty_like(like) if branch and dropout else nothing,
        like.new_empty(PARTS, 3, like.shape[-1], dtype=torch.float32),
    )


@_bias_gelu.register_fake
def _shape_of_bias_gelu(x, *_: Any):
    return torch.empty_like(x)


@_bias_gelu_backward.register_fake
def _shapes_of_bias_gelu_backward(d_out, x, *_: Any):
    blocks = -(-x.shape[-1] // 128)
    parts = x.new_empty(max(1, 4 * PARTS // blocks), x.shape[-1], dtype=torch.float32)
    return torch.empty_like(x), parts
