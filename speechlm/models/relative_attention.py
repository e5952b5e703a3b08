"""Self-attention with learned relative key positions.

B batch, T frames, D model width, H heads, d head width, R = 2 * clip relative positions.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.kernels.blocked_attention import blocked_relative_attention, spread
from speechlm.kernels.products import compute_type, linear


class RelativePositions(nn.Module):
    """The key table e (R, d) of one encoder, shared by its heads and layers.

    Row index: clip(query - key, -clip, clip - 1) + clip. Source: Shaw et al. 2018 (keys only).
    """

    def __init__(self, head_dim: int, clip: int):
        super().__init__()
        self.pe_k = nn.Embedding(2 * clip, head_dim)

    def forward(self) -> Tensor:
        """The table (R, d)."""
        return self.pe_k.weight


def relative_bias(scores: Tensor, frames: int) -> Tensor:
    """Spreads q . e_r over the keys: bias[..., i, j] = scores[..., i, clip(i - j) + R / 2].

    Args:
        scores: (..., T, R) products of each query with the table.
        frames: T.

    Returns:
        (..., T, T), a view of a wider tensor whose rows are shifted by one.
    """
    by_key = spread(scores.flip(-1).flatten(0, -3), 0, frames)
    return by_key.unflatten(0, scores.shape[:-2])


def relative_attention(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor, padding: Tensor | None, dropout: float
) -> Tensor:
    """softmax((q . k + q . e_(i-j)) / sqrt(d)) v.

    Args:
        query, key, value: (B, H, T, d).
        table: (R, d) relative keys.
        padding: (B, T) bool, True at the keys at the end that nobody may see; None: all are seen.
        dropout: probability of dropping an attention weight.

    Returns:
        (B, H, T, d).
    """
    query = query * query.shape[3] ** -0.5
    if query.device.type == "cpu":
        batch, _, frames, _ = query.shape
        lengths = [frames] * batch if padding is None else (~padding).sum(1).tolist()
        lengths = [max(1, length) for length in lengths]
        return blocked_relative_attention(query, key, value, table, lengths, dropout)
    return fused_relative_attention(query, key, value, table, padding, dropout)


def fused_relative_attention(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor, padding: Tensor | None, dropout: float
) -> Tensor:
    """relative_attention with scaled queries, by torch's attention kernels and a (T, T) bias."""
    bias = relative_bias(query @ table.to(query.dtype).T, query.shape[2])
    if padding is not None:
        bias = bias.masked_fill(padding[:, None, None], float("-inf"))
    return F.scaled_dot_product_attention(query, key, value, bias, dropout, scale=1.0)


class RelativeSelfAttention(nn.Module):
    """Multi-head self-attention, (B, T, D) -> (B, T, D)."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, table: Tensor, padding: Tensor | None) -> Tensor:
        """Attends x (B, T, D) to itself; table and padding as in relative_attention."""
        batch, frames, dim = x.shape

        x = x.to(compute_type(x))
        query, key, value = (
            linear(x, layer).view(batch, frames, self.heads, -1).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = relative_attention(query, key, value, table, padding, dropout)
        return linear(mixed.transpose(1, 2).reshape(batch, frames, dim), self.out_proj)
