"""Relative attention on a CPU: exact, block by block, with nothing of size T x T kept.

H heads, T queries, K keys, d head width, R = 2 * clip relative positions, Q queries of a block.

Queries go through in blocks of Q rows, so that a block's scores stay in the cache. Weights and
dropout masks are computed again in the backward pass (as in FlashAttention, Dao et al. 2022); the
relative scores are a (Q, R) product, spread over the keys by a shifted view of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from speechlm.models.dropout import KeepMasks, draw_seed

BLOCK = 128
"""Queries of a block."""


def blocked_relative_attention(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor, lengths: list[int], dropout: float
) -> Tensor:
    """softmax(q . k + q . e_(i-j)) v with scaled queries.

    Args:
        query, key, value: (B, H, T, d), queries already scaled.
        table: (R, d) relative keys.
        lengths: keys to see, for each of the B rows.
        dropout: probability of dropping an attention weight.

    Returns:
        (B, H, T, d).
    """
    seed = draw_seed() if dropout > 0.0 else 0
    return _BlockedAttention.apply(query, key, value, table, lengths, dropout, seed)


class _BlockedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, table, lengths, dropout, seed):
        ctx.save_for_backward(query, key, value, table)
        ctx.lengths, ctx.dropout, ctx.seed = lengths, dropout, seed
        # Heads of one frame lie side by side, as the output projection wants them.
        output = query.new_empty(query.transpose(1, 2).shape).transpose(1, 2)
        masks = KeepMasks(dropout, seed)
        by_distance = _by_distance(table, query.dtype)
        for row, start, stop in _blocks(query):
            q, k, v = query[row, :, start:stop], key[row], value[row]
            k, v = k[:, : lengths[row]], v[:, : lengths[row]]
            weights = _weights(q, k, by_distance, start)
            if dropout > 0.0:
                weights = weights.mul_(masks.next(weights.shape, weights.dtype))
            output[row, :, start:stop] = weights.to(v.dtype) @ v
        return output.mul_(masks.scale) if dropout > 0.0 else output

    @staticmethod
    def backward(ctx, gradient):
        query, key, value, table = ctx.saved_tensors
        masks = KeepMasks(ctx.dropout, ctx.seed)
        by_distance = _by_distance(table, query.dtype)
        d_query, d_key, d_value = (torch.zeros_like(x) for x in (query, key, value))
        d_table = torch.zeros_like(by_distance, dtype=torch.float32)
        for row, start, stop in _blocks(query):
            length = ctx.lengths[row]
            q, d_out = query[row, :, start:stop], gradient[row, :, start:stop] * masks.scale
            k, v = key[row, :, :length], value[row, :, :length]
            weights = _weights(q, k, by_distance, start)
            d_weights = (d_out @ v.transpose(1, 2)).to(weights.dtype)
            dropped = weights
            if ctx.dropout > 0.0:
                keep = masks.next(weights.shape, weights.dtype)
                d_weights.mul_(keep)
                dropped = keep.mul_(weights)
            d_value[row, :, :length] += dropped.to(v.dtype).transpose(1, 2) @ d_out
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            d_scores = d_scores.to(q.dtype)
            d_relative = _collect(d_scores, start, by_distance.shape[0])
            d_query[row, :, start:stop] = d_scores @ k + d_relative @ by_distance
            d_key[row, :, :length] += d_scores.transpose(1, 2) @ q
            d_table += d_relative.flatten(0, 1).T.float() @ q.flatten(0, 1).float()
        return d_query, d_key, d_value, d_table.flip(0).to(table.dtype), None, None, None


def _blocks(query: Tensor) -> Iterator[tuple[int, int, int]]:
    """(batch row, first query, last query + 1) of every block."""
    batch, _, frames, _ = query.shape
    for row in range(batch):
        for start in range(0, frames, BLOCK):
            yield row, start, min(start + BLOCK, frames)


def _by_distance(table: Tensor, dtype: torch.dtype) -> Tensor:
    """The table with rows by rising key - query: row c is for a distance of c - clip + 1."""
    return table.detach().flip(0).to(dtype)


def _weights(q: Tensor, k: Tensor, by_distance: Tensor, start: int) -> Tensor:
    """Attention weights (H, Q, K), float32, of queries start.. over all keys."""
    scores = torch.baddbmm(spread(q @ by_distance.T, start, k.shape[1]), q, k.transpose(1, 2))
    return F.softmax(scores, -1, dtype=torch.float32)


def _ranges(block: int, keys: int, start: int, table: int) -> tuple[int, int, int, int]:
    """How the distances 1 - start - block .. of a block fall onto the table's rows.

    Returns (count clipped on the left, first row, last row + 1, count clipped on the right).
    """
    width = keys + block - 1
    first = table // 2 - start - block
    left = min(max(-first, 0), width)
    begin = max(first, 0)
    end = min(max(first + width, begin), table)
    return left, begin, end, width - left - (end - begin)


def spread(relative: Tensor, start: int, keys: int) -> Tensor:
    """Gives every query and key the score of their distance.

    Args:
        relative: (H, Q, R) products of queries start.. with the table, by rising key - query.
        start: position of the first query.
        keys: K.

    Returns:
        (H, Q, K), a view of (H, Q, Q + K - 1) whose rows are shifted by one.
    """
    heads, block, rows = relative.shape
    left, begin, end, right = _ranges(block, keys, start, rows)
    parts = [
        relative[..., :1].expand(-1, -1, left),
        relative[..., begin:end],
        relative[..., -1:].expand(-1, -1, right),
    ]
    shifted = torch.cat(parts, -1)
    return _unshift(shifted, keys)


def _collect(d_scores: Tensor, start: int, rows: int) -> Tensor:
    """The transpose of spread: (H, Q, K) -> (H, Q, R)."""
    heads, block, keys = d_scores.shape
    left, begin, end, right = _ranges(block, keys, start, rows)
    shifted = d_scores.new_zeros(heads, block, keys + block - 1)
    _unshift(shifted, keys).copy_(d_scores)
    d_relative = d_scores.new_zeros(heads, block, rows)
    d_relative[..., begin:end] = shifted[..., left : left + end - begin]
    if left:
        d_relative[..., 0] += shifted[..., :left].sum(-1)
    if right:
        d_relative[..., -1] += shifted[..., -right:].sum(-1)
    return d_relative


def _unshift(shifted: Tensor, keys: int) -> Tensor:
    """View (H, Q, K) of (H, Q, Q + K - 1): row r starts Q - 1 - r columns in."""
    heads, block, width = shifted.shape
    strides = (block * width, width - 1, 1)
    return shifted.as_strided((heads, block, keys), strides, block - 1)
