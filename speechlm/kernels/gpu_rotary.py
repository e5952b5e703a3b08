"""Rotary positions on a GPU as operations of torch, which Triton's kernels carry out.

B rows, T frames, H heads, d head width.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechlm.kernels.gpu_attention import needing_triton, operation


def turned(qkv: Tensor, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys, turned by the angles of their frames, and values, (B, H, T, d) each.

    Args:
        qkv: (B, T, 3, H, d), contiguous.
        cosines, sines: (T, d), for `rotate` in models.rotary, contiguous.

    Raises:
        ValueError: Triton is not installed.
    """
    return _Turned.apply(qkv, cosines, sines)


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, cosines, sines):
        ctx.save_for_backward(cosines, sines)
        query, key = _rotary(qkv, cosines, sines).permute(2, 0, 3, 1, 4)
        return query, key, qkv[:, :, 2].transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor):
        # (B, H, T, d) -> (B, T, H, d), as torch's attention leaves them in memory
        rows = (gradient.transpose(1, 2).contiguous() for gradient in gradients)
        return _rotary_backward(*rows, *ctx.saved_tensors), None, None


def _kernels() -> ModuleType:
    with needing_triton():
        from speechlm.kernels import triton_rotary
    return triton_rotary


@operation("rotary", "(Tensor qkv, Tensor cosines, Tensor sines) -> Tensor")
def _rotary(*inputs):
    return _kernels().forward(*inputs)


@operation(
    "rotary_backward",
    "(Tensor d_q, Tensor d_k, Tensor d_v, Tensor cosines, Tensor sines) -> Tensor",
)
def _rotary_backward(*inputs):
    return _kernels().backward(*inputs)


@_rotary.register_fake
def _shape_of_rotary(qkv, *_):
    batch, frames, _three, heads, width = qkv.shape
    return qkv.new_empty(batch, frames, 2, heads, width)


@_rotary_backward.register_fake
def _shape_of_rotary_backward(d_q, *_):
    batch, frames, heads, width = d_q.shape
    return d_q.new_empty(batch, frames, 3, heads, width)
