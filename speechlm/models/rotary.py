"""Rotary positions, and self-attention that has no other.

B batch, T frames, D model width, H heads, d head width. Source: Su et al. 2021, RoFormer: queries
and keys are turned by angles that grow with their position, so that their products depend on the
distance alone. There is no table and no bias: torch's fused attention applies as it is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.kernels.gpu_rotary import turned
from speechlm.kernels.products import compute_type, linear

BASE = 10_000.0
"""The slowest pair of numbers turns by one in so many frames."""


def rotations(x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """What `rotate` multiplies the frames of x (B, T, D) with, of the angles t / BASE^(2 i / d).

    Returns:
        (T, d) each, in the type in which products of x are done: cosines of the d / 2 angles,
        twice, and their sines, once with the opposite sign.
    """
    pairs = torch.arange(0, width, 2, device=x.device, dtype=torch.float32)
    speeds = BASE ** (-pairs / width)
    angles = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)[:, None] * speeds
    kind = compute_type(x)
    cosines, sines = angles.cos().to(kind), angles.sin().to(kind)
    return torch.cat([cosines, cosines], 1), torch.cat([-sines, sines], 1)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turns the pairs (x_i, x_(i + d/2)) of x (.., d) by the angles of their frames.

    Cosines and sines of `rotations` broadcast to x.
    """
    # (a cos - b sin, b cos + a sin) = (a, b) (cos, cos) + (b, a) (-sin, sin)
    first, second = x.chunk(2, -1)
    return x * cosines + torch.cat([second, first], -1) * sines


class RotarySelfAttention(nn.Module):
    """Multi-head self-attention, (B, T, D) -> (B, T, D)."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv_proj = nn.Linear(dim, 3 * dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, turns: tuple[Tensor, Tensor], padding: Tensor | None) -> Tensor:
        """Attends x (B, T, D) to itself; `turns` of `rotations`, padding (B, T) bool or None."""
        # (B, T, 3 D) -> three of (B, H, T, d), of which two are turned at once
        qkv = linear(x.to(compute_type(x)), self.qkv_proj).unflatten(-1, (3, self.heads, -1))
        both, value = qkv.split((2, 1), 2)
        cosines, sines = (turn[:, None, None] for turn in turns)
        query, key = rotate(both, cosines, sines).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed = _mix(query, key, value.squeeze(2).transpose(1, 2), padding, dropout)
        return linear(mixed, self.out_proj)

    def attend(
        self,
        qkv: Tensor,
        turns: tuple[Tensor, Tensor],
        padding: Tensor | None,
        _seed: Tensor | None,
        dropout: float,
    ) -> Tensor:
        """What queries, keys and values (B, T, 3 D) mix, (B, T, D), turned by a kernel in Triton.

        Torch's attention has random numbers of its own; dropout is the probability of dropping a
        weight.
        """
        qkv = qkv.unflatten(-1, (3, self.heads, -1))
        return _mix(*turned(qkv, *turns), padding, dropout)

    def weights(self, x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        """(B, H, T, T) shares of the keys for each query: those of `forward` without padding."""
        both = linear(x, self.qkv_proj).unflatten(2, (3, self.heads, -1))[:, :, :2]
        cosines, sines = (turn[:, None, None] for turn in turns)
        query, key = rotate(both, cosines, sines).permute(2, 0, 3, 1, 4)
        return (query @ key.mT * query.shape[3] ** -0.5).softmax(-1)


def _mix(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, dropout: float
) -> Tensor:
    """Torch's attention of (B, H, T, d), (B, T, D)."""
    seen = None if padding is None else ~padding[:, None, None]
    mixed = F.scaled_dot_product_attention(query, key, value, seen, dropout)
    return mixed.transpose(1, 2).flatten(2)
