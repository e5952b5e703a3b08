"""Relative attention on a CPU: exact, block by block, with nothing of size T x T kept but bits.

H heads, T queries, K keys, d head width, R = 2 * clip relative positions, Q queries of a block.

Queries go through in blocks of Q rows, so that a block's scores stay in the cache. Weights are
computed again in the backward pass (as in FlashAttention, Dao et al. 2022); the relative scores are
a (Q, R) product, spread over the keys by a shifted view of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from speechlm.kernels.dropout import KeepMasks, draw_seed

BLOCK_BYTES = 512
"""Of a column of a head's scores: 128 queries of a block in float32, 256 in bfloat16."""
ALIGNMENT = 32
"""Rows of scores begin a multiple of so many numbers apart: products into odd ones are slower."""


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
        # Heads of one frame lie side by side, as the output projection wants them.
        output = query.new_empty(query.transpose(1, 2).shape).transpose(1, 2)
        masks = KeepMasks(dropout, seed)
        by_distance = _by_distance(table, query.dtype)
        for row, length in enumerate(lengths):
            q, k, v = _rows(row, query, key[:, :, :length], value[:, :, :length])
            for start, stop in _blocks(q):
                weights = _weights(q[:, start:stop], k, by_distance, start)
                if dropout > 0.0:
                    weights.mul_(masks.draw(weights.shape, weights.dtype))
                output[row, :, start:stop] = weights @ v
        if dropout > 0.0:
            output.mul_(masks.scale)
        ctx.save_for_backward(query, key, value, table, output)
        ctx.lengths, ctx.dropout, ctx.masks = lengths, dropout, masks
        return output

    @staticmethod
    def backward(ctx, gradient):
        query, key, value, table, output = ctx.saved_tensors
        masks = ctx.masks.repeat(query.dtype)
        by_distance = _by_distance(table, query.dtype)
        d_query = torch.empty_like(query)
        sums = torch.promote_types(query.dtype, torch.float32)
        d_key, d_value = (torch.zeros_like(x, dtype=sums) for x in (key, value))
        d_table = torch.zeros_like(by_distance, dtype=sums)
        means = (gradient * output).sum(-1, keepdim=True)  # of d_weights, by the weights
        shifted, view = query.new_empty(0), (0, 0)
        for row, length in enumerate(ctx.lengths):
            whole, d_whole = _rows(row, query, gradient)
            k, v = _rows(row, key[:, :, :length], value[:, :, :length])
            for start, stop in _blocks(whole):
                block = stop - start
                q, d_out = whole[:, start:stop], d_whole[:, start:stop]
                weights = _weights(q, k, by_distance, start)
                dropped = weights
                if ctx.dropout > 0.0:
                    d_out = d_out * ctx.masks.scale
                    dropped = next(masks).mul_(weights)
                _add(d_value[row, :, :length], dropped.transpose(1, 2), d_out)
                if view != (block, length):
                    view = block, length
                    shifted = query.new_zeros(len(q), block, _width(block, length))
                d_scores = _unshift(shifted, length)  # the rest of shifted stays zero
                d_weights = (d_out @ v.transpose(1, 2)).mul_(dropped)
                mean = means[row, :, start:stop]
                torch.addcmul(d_weights, weights, mean, value=-1, out=d_scores)
                d_relative, rows = _collect(shifted, start, length, len(table))
                d_relative_q = d_relative @ by_distance[rows]
                d_query[row, :, start:stop] = torch.baddbmm(d_relative_q, d_scores, k)
                _add(d_key[row, :, :length], d_scores.transpose(1, 2), q)
                d_table[rows] += d_relative.flatten(0, 1).T @ q.flatten(0, 1)
        d_table = d_table.flip(0).to(table.dtype)
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype), d_table, None, None, None


def _add(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right for (H, ., .) tensors; total may be of a wider type."""
    if total.dtype != left.dtype:
        total += left @ right
        return
    for head in range(len(total)):
        total[head].addmm_(left[head], right[head])


def _rows(row: int, *tensors: Tensor) -> Iterator[Tensor]:
    """Row of each, heads one after the other in memory as batched products want them."""
    return (tensor[row].contiguous() for tensor in tensors)


def _blocks(query: Tensor) -> Iterator[tuple[int, int]]:
    """(first query, last query + 1) of every block of (H, T, d)."""
    frames, block = query.shape[1], BLOCK_BYTES // query.element_size()
    for start in range(0, frames, block):
        yield start, min(start + block, frames)


def _by_distance(table: Tensor, dtype: torch.dtype) -> Tensor:
    """The table with rows by rising key - query: row c is for a distance of c - clip + 1."""
    return table.detach().flip(0).to(dtype)


def _weights(q: Tensor, k: Tensor, by_distance: Tensor, start: int) -> Tensor:
    """Attention weights (H, Q, K) of queries start.. over all keys."""
    left, begin, end, right = _ranges(q.shape[1], k.shape[1], start, len(by_distance))
    relative = q @ by_distance[begin:end].T
    scores = _spread(relative, left, right, k.shape[1])
    for head in range(len(q)):
        scores[head].addmm_(q[head], k[head].T)
    return F.softmax(scores, -1)


def _ranges(block: int, keys: int, start: int, table: int) -> tuple[int, int, int, int]:
    """How the distances 1 - start - block .. of a block fall onto the table's rows, one at least.

    Returns (count clipped on the left, first row, last row + 1, count clipped on the right).
    """
    width = _width(block, keys)
    first = table // 2 - start - block
    left = min(max(-first, 0), width - 1)
    begin = max(first, 0)
    end = min(max(first + width, begin + 1), table)
    return left, begin, end, width - left - (end - begin)


def _width(block: int, keys: int) -> int:
    """Columns that hold all distances of a block; more, so that rows of its view lie aligned."""
    return -(-(keys + block - 2) // ALIGNMENT) * ALIGNMENT + 1


def spread(relative: Tensor, start: int, keys: int) -> Tensor:
    """Gives every query and key the score of their distance.

    Args:
        relative: (H, Q, R) products of queries start.. with the table, by rising key - query.
        start: position of the first query.
        keys: K.

    Returns:
        (H, Q, K), a view of (H, Q, W), W >= Q + K - 1, whose rows are shifted by one.
    """
    _, block, rows = relative.shape
    left, begin, end, right = _ranges(block, keys, start, rows)
    return _spread(relative[..., begin:end], left, right, keys)


def _spread(relative: Tensor, left: int, right: int, keys: int) -> Tensor:
    parts = [
        relative[..., :1].expand(-1, -1, left),
        relative,
        relative[..., -1:].expand(-1, -1, right),
    ]
    return _unshift(torch.cat(parts, -1), keys)


def _collect(shifted: Tensor, start: int, keys: int, rows: int) -> tuple[Tensor, slice]:
    """The transpose of spread, from what lies under the (H, Q, K) view: (H, Q, n), its n rows."""
    left, begin, end, right = _ranges(shifted.shape[1], keys, start, rows)
    d_relative = shifted[..., left : left + end - begin].contiguous()
    if left:
        d_relative[..., 0] += shifted[..., :left].sum(-1)
    if right:
        d_relative[..., -1] += shifted[..., -right:].sum(-1)
    return d_relative, slice(begin, end)


def _unshift(shifted: Tensor, keys: int) -> Tensor:
    """View (H, Q, K) of (H, Q, W): row r starts Q - 1 - r columns in."""
    heads, block, width = shifted.shape
    strides = (block * width, width - 1, 1)
    return shifted.as_strided((heads, block, keys), strides, block - 1)
