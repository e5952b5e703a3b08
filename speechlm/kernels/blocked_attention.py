"""Relative attention on a CPU: exact, block by block, with nothing of size T x T kept but bits.

H heads, T queries, K keys, d head width, R = 2 * clip relative positions, Q queries of a block,
W columns that hold all distances of a block.

Queries go through in blocks of Q rows, so that a block's scores stay in the cache. Weights are
computed again in the backward pass (as in FlashAttention, Dao et al. 2022). Relative scores are a
product (Q, R) of queries and table, which is spread over the keys without copying a score twice:
query r of a block that begins at `start` sees key k at the distance k - start - r, so that along a
row of W distances its keys are K neighbours, which begin one column earlier than those of the
query above (here Q = 3, K = 5, start = 4):

    distance           -6 -5 -4 -3 -2 -1  0
    keys of query 4           0  1  2  3  4
    keys of query 5        0  1  2  3  4
    keys of query 6     0  1  2  3  4

A tensor (Q, W) holds the distances; the same memory, read with rows that lie W - 1 numbers apart,
is the (Q, K) tensor of scores. Into it the product of queries and keys accumulates. In the backward
pass the gradient of the scores is written through such a view, and lies by distance then.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from speechlm.kernels.dropout import KeepMasks, draw_seed
from speechlm.kernels.products import without_autocast

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
            # Padded keys are cut off, so that they cost nothing and no score needs a mask.
            q, k, v = _rows(row, query, key[:, :, :length], value[:, :, :length])
            for start, stop in _blocks(q):
                # A = softmax(q k^T + relative), (H, Q, K)
                weights = _weights(q[:, start:stop], k, by_distance, start)
                if dropout > 0.0:
                    weights.mul_(masks.draw(weights.shape, weights.dtype))
                # o = (M * A) v, (H, Q, d), M the mask of zeros and ones; scaled at the end, by all
                output[row, :, start:stop] = weights @ v
        if dropout > 0.0:
            output.mul_(masks.scale)
        ctx.save_for_backward(query, key, value, table, output)
        ctx.lengths, ctx.dropout, ctx.masks = lengths, dropout, masks
        return output

    @staticmethod
    @without_autocast
    def backward(ctx, gradient):
        query, key, value, table, output = ctx.saved_tensors
        # With dA = (do v^T) * M and o = (M * A) v, masks scaled, the softmax S = q k^T + .. has
        #     dS = A * (dA - mean),   mean_i = sum_j A_ij dA_ij = sum_c do_ic o_ic,
        # so that the mean needs no sum over keys. All else are products:
        #     dv = (M * A)^T do,  dq = dS k + dR E,  dk = dS^T q,  dE = dR^T q,
        # where E (R, d) is the table and dR (Q, R) collects dS by distance.
        masks = ctx.masks.repeat(query.dtype)
        by_distance = _by_distance(table, query.dtype)
        d_query = torch.empty_like(query)
        sums = torch.promote_types(query.dtype, torch.float32)
        d_key, d_value = (torch.zeros_like(x, dtype=sums) for x in (key, value))
        d_table = torch.zeros_like(by_distance, dtype=sums)
        means = (gradient * output).sum(-1, keepdim=True)  # (B, H, T, 1)
        shifted, view = query.new_empty(0), (0, 0)
        for row, length in enumerate(ctx.lengths):
            whole, d_whole = _rows(row, query, gradient)
            k, v = _rows(row, key[:, :, :length], value[:, :, :length])
            for start, stop in _blocks(whole):
                block = stop - start
                q, d_out = whole[:, start:stop], d_whole[:, start:stop]
                weights = _weights(q, k, by_distance, start)  # A again, (H, Q, K)
                dropped = weights  # M * A
                if ctx.dropout > 0.0:
                    d_out = d_out * ctx.masks.scale
                    dropped = next(masks).mul_(weights)
                _add(d_value[row, :, :length], dropped.transpose(1, 2), d_out)
                # dS is written through the (H, Q, K) view of zeros (H, Q, W): the columns outside
                # the view stay zero from block to block of the same size.
                if view != (block, length):
                    view = block, length
                    shifted = query.new_zeros(len(q), block, _width(block, length))
                d_scores = _unshift(shifted, length)
                d_weights = (d_out @ v.transpose(1, 2)).mul_(dropped)  # A * dA, (H, Q, K)
                mean = means[row, :, start:stop]
                torch.addcmul(d_weights, weights, mean, value=-1, out=d_scores)
                # dR (H, Q, n) of the n table rows whose distances this block has
                d_relative, rows = _collect(shifted, start, length, len(table))
                d_relative_q = d_relative @ by_distance[rows]
                d_query[row, :, start:stop] = torch.baddbmm(d_relative_q, d_scores, k)
                _add(d_key[row, :, :length], d_scores.transpose(1, 2), q)
                d_table[rows] += d_relative.flatten(0, 1).T @ q.flatten(0, 1)
        d_table = d_table.flip(0).to(table.dtype)  # back to rows by query - key
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
    # Only the rows of the table that this block's distances meet are multiplied: (H, Q, n).
    relative = q @ by_distance[begin:end].T
    scores = _spread(relative, left, right, k.shape[1])
    # The view's rows overlap those of no other head, so that each takes its product in place.
    for head in range(len(q)):
        scores[head].addmm_(q[head], k[head].T)
    return F.softmax(scores, -1)


def _ranges(block: int, keys: int, start: int, table: int) -> tuple[int, int, int, int]:
    """How the W distances of a block, from 1 - start - block on, fall onto the table's rows.

        distances   1 - start - block  ..................................  W of them
        rows                 [ left ][ begin .. end - 1 ][ right ]
                    clipped to row 0                      clipped to the last row

    Returns (count clipped on the left, first row, last row + 1, count clipped on the right); one
    row at least.
    """
    width = _width(block, keys)
    # Row c of the table is for the distance c - clip + 1, so the first distance is that of row
    first = table // 2 - start - block
    left = min(max(-first, 0), width - 1)
    begin = max(first, 0)
    end = min(max(first + width, begin + 1), table)
    return left, begin, end, width - left - (end - begin)


def _width(block: int, keys: int) -> int:
    """Columns that hold all distances of a block; more, so that rows of its view lie aligned."""
    return -(-(keys + block - 2) // ALIGNMENT) * ALIGNMENT + 1


def _spread(relative: Tensor, left: int, right: int, keys: int) -> Tensor:
    """Relative scores (H, Q, n) of a block -> (H, Q, K), a view of (H, Q, W)."""
    parts = [
        relative[..., :1].expand(-1, -1, left),
        relative,
        relative[..., -1:].expand(-1, -1, right),
    ]
    return _unshift(torch.cat(parts, -1), keys)


def _collect(shifted: Tensor, start: int, keys: int, rows: int) -> tuple[Tensor, slice]:
    """The transpose of `_spread`: what lies under the (H, Q, K) view -> (H, Q, n), its n rows."""
    left, begin, end, right = _ranges(shifted.shape[1], keys, start, rows)
    d_relative = shifted[..., left : left + end - begin].contiguous()
    # A clipped distance has the score of the outermost row, which gets its gradient, too.
    if left:
        d_relative[..., 0] += shifted[..., :left].sum(-1)
    if right:
        d_relative[..., -1] += shifted[..., -right:].sum(-1)
    return d_relative, slice(begin, end)


def _unshift(shifted: Tensor, keys: int) -> Tensor:
    """View (H, Q, K) of (H, Q, W): row r starts Q - 1 - r columns in."""
    heads, block, width = shifted.shape
    # Score (r, k) is number r W + (Q - 1 - r) + k of a head = (Q - 1) + r (W - 1) + k.
    strides = (block * width, width - 1, 1)
    return shifted.as_strided((heads, block, keys), strides, block - 1)
