"""Self-attention with learned relative key positions.

B batch, T frames, D model width, H heads, d head width, R = 2 * clip relative positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.kernels import fast
from speechlm.kernels.blocked_attention import blocked_relative_attention
from speechlm.kernels.gpu_attention import gpu_relative_attention
from speechlm.kernels.low_layers import LOW
from speechlm.kernels.products import affine, compute_type, linear

ALIGNMENT = 8
"""Numbers of 16 bytes in bfloat16 and float16, of 32 in float32."""


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
    if not fast("attention", query):
        return plain_relative_attention(query, key, value, table, padding, dropout)
    batch, _, frames, _ = query.shape
    lengths = [frames] * batch if padding is None else (~padding).sum(1).tolist()
    lengths = [max(1, length) for length in lengths]
    return blocked_relative_attention(query, key, value, table, lengths, dropout)


def plain_relative_attention(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor, padding: Tensor | None, dropout: float
) -> Tensor:
    """relative_attention with scaled queries, by torch's attention and a (T, T) bias."""
    relative = query @ table.to(query.dtype).T  # (B, H, T, R): q_i . e_r
    spread = gathered_bias if torch.compiler.is_compiling() else relative_bias
    bias = spread(relative, query.shape[2])
    if padding is not None:
        bias = bias.masked_fill(padding[:, None, None], float("-inf"))
    return F.scaled_dot_product_attention(query, key, value, bias, dropout, scale=1.0)


def relative_bias(relative: Tensor, frames: int) -> Tensor:
    """Spreads q . e_r over the keys: bias[..., i, j] = relative[..., i, clip(i - j) + R / 2].

    Row i of the result is row i of a wider tensor, read from another column on:

        column of `wide`     0  1  2  3  4  5  6  7  8        (rows = 4, frames = 4)
        distance j - i      -4 -3 -2 -1  0  1  2  3  4
        keys of query 0                  0  1  2  3
        keys of query 1               0  1  2  3
        keys of query 2            0  1  2  3
        keys of query 3         0  1  2  3

    so that it is a view of it whose rows lie a column less than its width apart. GPU kernels read
    such a bias 16 bytes at a time: where it begins, and the distance of its rows and of its heads,
    are multiples of `ALIGNMENT` numbers, for any number of frames.

    Args:
        relative: (..., T, R) products of each query with the table.
        frames: T.

    Returns:
        (..., T, T), a view.
    """
    *batch, _, size = relative.shape
    clip = size // 2
    rows = -(-frames // ALIGNMENT) * ALIGNMENT
    width = -(-(frames + rows - 1) // ALIGNMENT) * ALIGNMENT + 1
    # The table's rows go by i - j = -clip .. clip - 1; flipped, by j - i = 1 - clip .. clip.
    by_distance = F.pad(relative.flip(-1), (0, 0, 0, rows - frames))
    # Column c of `wide` is for the distance c - rows. Distances below 1 - clip share its column,
    # those above clip share that of clip; for short T the outer columns are not used at all.
    left = min(max(rows + 1 - clip, 0), width - 1)
    first = max(clip - 1 - rows, 0)
    middle = by_distance[..., first : first + width - left]
    right = width - left - middle.shape[-1]
    ends = (
        middle[..., :1].expand(*batch, rows, left),
        middle[..., -1:].expand(*batch, rows, right),
    )
    wide = torch.cat([ends[0], middle, ends[1]], -1).flatten(0, -3)
    # bias[n, i, j] = wide[n, i, j - i + rows], which is number i (width - 1) + j + rows of wide[n].
    strides = (rows * width, width - 1, 1)
    return wide.as_strided((len(wide), frames, frames), strides, rows).unflatten(0, batch)


def gathered_bias(relative: Tensor, frames: int) -> Tensor:
    """What `relative_bias` gives, number by number: for graphs, which hold for any T.

    Args:
        relative: (B, H, T, R) products of each query with the table.
        frames: T.

    Returns:
        (B, H, T, T).
    """
    batch, heads, _, size = relative.shape
    place = torch.arange(frames, device=relative.device)
    distance = place[:, None] - place  # i - j
    index = distance.clamp(-(size // 2), size // 2 - 1) + size // 2
    return relative.gather(3, index.expand(batch, heads, frames, frames))


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
            y.view(batch, frames, self.heads, -1).transpose(1, 2) for y in self._project(x)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = relative_attention(query, key, value, table, padding, dropout)
        return linear(mixed.transpose(1, 2).reshape(batch, frames, dim), self.out_proj)

    def _project(self, x: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values, (B, T, D) each."""
        layers = (self.q_proj, self.k_proj, self.v_proj)
        if not (fast("layers", x) and x.dtype in LOW):
            return [linear(x, layer) for layer in layers]
        weight = torch.cat([layer.weight for layer in layers])
        return affine(x, weight, torch.cat([layer.bias for layer in layers])).chunk(3, -1)

    def attend(
        self,
        qkv: Tensor,
        tables: Tensor,
        padding: Tensor | None,
        seed: Tensor | None,
        dropout: float,
    ) -> Tensor:
        """What queries, keys and values (B, T, 3 D) mix, (B, T, D), by the kernels in Triton.

        Arguments as in `gpu_relative_attention`.
        """
        qkv = qkv.unflatten(-1, (3, self.heads, -1))
        return gpu_relative_attention(qkv, tables, padding, seed, dropout).flatten(2)

    def weights(self, x: Tensor, table: Tensor) -> Tensor:
        """(B, H, T, T) shares of the keys for each query: those of `forward` without padding."""
        query, key = (
            linear(x, layer).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj)
        )
        query = query * query.shape[3] ** -0.5
        bias = gathered_bias(query @ table.T, query.shape[2])
        return (query @ key.mT + bias).softmax(-1)
