"""Multi-head attention with keys and values that may be kept, and sinusoidal positions.

B batch, T queries, K keys, D model width, H heads, d head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Projections and attention; parameter names are fairseq's.

    Args:
        dim: D of the queries and of the output.
        heads: H.
        dropout: probability of dropping an attention weight in training.
        memory_dim: width of what keys and values are made of (default: D).
    """

    def __init__(self, dim: int, heads: int, dropout: float, memory_dim: int | None = None):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.k_proj = nn.Linear(memory_dim or dim, dim)
        self.v_proj = nn.Linear(memory_dim or dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        # Xavier with the variance that one matrix of 3 D rows for q, k and v would have, where
        # their inputs are equally wide: 6 / (D + 3 D) = 2^-1 x 6 / (D + D).
        gain = 2**-0.5 if memory_dim in (None, dim) else 1.0
        for projection in (self.k_proj, self.v_proj, self.q_proj):
            nn.init.xavier_uniform_(projection.weight, gain)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def split(self, projected: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, d)."""
        return projected.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def queries(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, d), scaled by 1 / sqrt(d)."""
        return self.split(self.q_proj(x)) * (x.shape[2] // self.heads) ** -0.5

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, memory width) -> two of (B, H, K, d)."""
        return self.split(self.k_proj(memory)), self.split(self.v_proj(memory))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D) from scaled queries (B, H, T, d) and keys, values (B, H, K, d).

        mask broadcasts to (B, H, T, K): bool, True where a key may be seen, or float, added to
        the scores.
        """
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, mask, dropout, scale=1.0)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


def sinusoidal_positions(first: int, count: int, like: Tensor) -> Tensor:
    """Rows first .. first + count - 1 of the position table, (count, D) for `like` (..., D).

    Row n holds sin(n f_k) for k < D / 2, then cos(n f_k), f_k = 10000 ^ (-k / (D / 2 - 1)).
    Source: Vaswani et al. 2017 in fairseq's arrangement; the first symbol has row 2.
    """
    half = like.shape[-1] // 2
    steps = torch.arange(half, dtype=torch.float64, device=like.device) / max(1, half - 1)
    rows = torch.arange(first, first + count, dtype=torch.float64, device=like.device)
    angles = rows[:, None] * torch.pow(10000.0, -steps)
    return torch.cat([angles.sin(), angles.cos()], 1).to(like.dtype)
