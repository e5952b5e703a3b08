"""Weight norm over the taps of a convolution, into the type in which it is computed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def normed_taps(weight: Tensor, lengths: Tensor, dtype: torch.dtype) -> Tensor:
    """w_k = g_k v_k / |v_k| for each tap k, |v_k| over all channels.

    Each number is read twice forward and three times backward; by torch's own operations, which
    keep what they compute, it is some ten times each.

    Args:
        weight: v (D_out, D_in, K).
        lengths: g (1, 1, K).
        dtype: of the result.

    Returns:
        (D_out, D_in, K).
    """
    return _NormedTaps.apply(weight, lengths, dtype)


class _NormedTaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight, lengths, dtype):
        norm = weight.flatten(0, 1).norm(dim=0)
        scale = lengths[0, 0] / norm
        ctx.save_for_backward(weight, norm, scale)
        return torch.mul(weight, scale, out=torch.empty_like(weight, dtype=dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        # dg_k = dw_k . v_k / |v_k|,   dv_k = g_k / |v_k| (dw_k - dg_k / |v_k| v_k)
        weight, norm, scale = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            d_lengths = (gradient * weight).flatten(0, 1).sum(0) / norm
            along = d_lengths * scale / -norm
            d_weight = torch.addcmul(weight * along, gradient, scale)
        return d_weight, d_lengths[None, None], None
