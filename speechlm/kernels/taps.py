"""Depthwise convolution over time on a CPU, a tap at a time over all channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def by_taps(x: Tensor, weight: Tensor) -> Tensor:
    """y_t = sum_k w_k x_(t + k - K // 2), channel by channel: (B, T, D), (K, D) -> (B, T, D)."""
    kernel, frames = len(weight), x.shape[1]
    padded = F.pad(x, (0, 0, kernel // 2, kernel // 2))
    weight = weight.to(x.dtype)
    y = padded[:, :frames] * weight[0]
    for tap in range(1, kernel):
        y = torch.addcmul(y, padded[:, tap : tap + frames], weight[tap])
    return y
