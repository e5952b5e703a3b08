"""GELU followed by a linear map, which keeps the GELU's input only.

D_in, D_out widths of the linear map. The GELU is cheap to compute again in the backward pass, and
its output is the largest activation of a Transformer layer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gelu_linear(hidden: Tensor, linear: nn.Linear) -> Tensor:
    """linear(gelu(hidden)): (..., D_in) -> (..., D_out)."""
    return _GeluLinear.apply(hidden, linear.weight, linear.bias)


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        return F.linear(F.gelu(hidden), weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        hidden, weight = ctx.saved_tensors
        rows = gradient.flatten(0, -2)
        activated = F.gelu(hidden).flatten(0, -2).to(rows.dtype)
        d_weight = rows.T @ activated
        del activated
        d_hidden = (gradient @ weight.to(gradient.dtype)).to(hidden.dtype)
        d_hidden = torch.ops.aten.gelu_backward(d_hidden, hidden)
        return d_hidden, d_weight.to(weight.dtype), rows.sum(0).to(weight.dtype)
