"""Dropout whose random bits are cheap on a CPU."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zeroes entries of x with probability p and scales the rest, in training only."""
    return F.dropout(x, p, training) if training and p > 0.0 else x
