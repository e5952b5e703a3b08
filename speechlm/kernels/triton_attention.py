"""Relative attention on a GPU, in Triton: block by block, with nothing of size T x T in memory.

B rows, H heads, T frames, d head width, R relative positions, all tensors in the order (B, T, H, .)
in which projections leave them. With c = 1 / sqrt(d) and r(i, j) = clip(i - j) + R / 2,

    S_ij = c (q_i . k_j + relative_i,r(i,j)),   A = softmax(S),   o_i = sum_j M_ij A_ij v_j,

where relative = q e^T (B, T, H, R) comes from memory, M is the mask of dropout, zeros and
1 / (1 - p), and keys from the row's length on are not seen. A is computed again in the backward
pass from log sum_j exp S_ij, as in FlashAttention (Dao et al. 2022):

    dA_ij = M_ij do_i . v_j,   dS_ij = A_ij (dA_ij - mean_i),   mean_i = do_i . o_i,
    dq_i = c sum_j dS_ij k_j,   dk_j = c sum_i dS_ij q_i,   dv_j = sum_i M_ij A_ij do_i.

drelative_i,r is c dS_ij of the one key j at that distance; in the two outermost columns, to which
distances are clipped, it is the sum over all keys beyond. Each program has a block of queries (or
of keys) of one head to itself, so that nothing is added up by atomics, and every run gives the same
bits. M is never stored: its bits follow from seed, row, head, query and key.

It has not run on a GPU yet: blocks and warps are chosen by what the compiler says of registers and
shared memory.
"""

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
STEPS = 1 << 24
"""Probabilities of dropout are rounded to multiples of 1 / STEPS."""
BLOCK_BYTES = 128
"""Of a column of a block: 64 frames in bfloat16, 32 in float32."""
WARPS = 8
"""Of a program: a guess until it has run on a GPU, by the registers that the compiler asks for."""


@triton.jit
def _product(a, b):
    """a @ b, summed in float32."""
    if INTERPRETED:  # Triton's interpreter would multiply bfloat16's bits as integers.
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _length(padding, row, frames, PADDED: tl.constexpr, BLOCK: tl.constexpr):
    """Keys that a row sees: padding (B, T) is true at the others; one at least."""
    if not PADDED:
        return frames
    seen = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, frames, BLOCK):
        frame = start + tl.arange(0, BLOCK)
        hidden = tl.load(padding + row * frames + frame, mask=frame < frames, other=1)
        seen += (hidden == 0).to(tl.int32)
    return tl.maximum(tl.sum(seen, 0), 1)


@triton.jit
def _places(frame, stop, heads, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """Offsets (frames, COLUMNS) of one head's numbers in (T, H, WIDTH), and which are there.

    In 32 bits, as offsets of a block's every number take registers; where a row begins, which
    needs 64, is added to the pointer.
    """
    column = tl.arange(0, COLUMNS)
    offset = frame[:, None] * (heads * WIDTH) + column[None, :]
    return offset, (frame < stop)[:, None] & (column < WIDTH)[None, :]


@triton.jit
def _load(x, head_rows, frame, stop, heads, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """A block (frames, COLUMNS) of one head; zeros from `stop` and from WIDTH on."""
    offset, there = _places(frame, stop, heads, WIDTH, COLUMNS)
    return tl.load(x + head_rows * WIDTH + offset, mask=there, other=0.0)


@triton.jit
def _store(x, block, head_rows, frame, stop, heads, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """The inverse of _load."""
    offset, there = _places(frame, stop, heads, WIDTH, COLUMNS)
    tl.store(x + head_rows * WIDTH + offset, block.to(x.dtype.element_ty), mask=there)


@triton.jit
def _column(query, key, POSITIONS: tl.constexpr):
    """(Q, K): the column of `relative` that each query takes for each key."""
    distance = query[:, None] - key[None, :]
    return tl.minimum(tl.maximum(distance, -(POSITIONS // 2)), POSITIONS // 2 - 1) + POSITIONS // 2


@triton.jit
def _scores(
    q, k, relative, head_rows, query, key, frames, length, heads, scale, POSITIONS: tl.constexpr
):
    """S (Q, K) of a block, -inf for keys that are not seen."""
    offset = query[:, None] * (heads * POSITIONS) + _column(query, key, POSITIONS)
    there = (query < frames)[:, None] & (key < length)[None, :]
    at_distance = tl.load(relative + head_rows * POSITIONS + offset, mask=there, other=0.0)
    scores = (_product(q, tl.trans(k)) + at_distance) * scale
    return tl.where((key < length)[None, :], scores, float("-inf"))


@triton.jit
def _keep(seed, pair, query, start, threshold, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr):
    """(Q, K) bool: which weights dropout keeps, for keys from `start` on, a multiple of four.

    Key j takes number j % 4 of the four that Philox (Salmon et al. 2011; seven rounds) gives for
    the counter (j // 4, query, row and head, 0).
    """
    zero = tl.zeros((BLOCK_Q, BLOCK_K // 4), tl.int32)
    fourth = zero + (start // 4 + tl.arange(0, BLOCK_K // 4))[None, :]
    a, b, c, d = tl.philox(seed, fourth, zero + query[:, None], zero + pair, zero, 7)
    bits = tl.interleave(tl.interleave(a, c), tl.interleave(b, d))
    return (bits >> 8).to(tl.int32) >= threshold


@triton.jit(do_not_specialize=["frames", "threshold"])
def _forward(
    q_of, k_of, v_of, relative, padding, seed_of, out, log_sum,
    frames, heads, scale, threshold, kept_scale,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, POSITIONS: tl.constexpr,
    PADDED: tl.constexpr, DROPPED: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """o and log sum_j exp S_ij (B, H, T), for a block of queries."""
    pair = tl.program_id(1)
    head_rows = (pair // heads).to(tl.int64) * frames * heads + pair % heads
    query = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    length = _length(padding, pair // heads, frames, PADDED, BLOCK_K)
    q = _load(q_of, head_rows, query, frames, heads, WIDTH, COLUMNS)

    # Sums over the keys so far, each times exp(-top) with the largest score so far:
    # total_i = sum_j exp S_ij (Q,), mixed_i = sum_j M_ij exp(S_ij) v_j (Q, COLUMNS)
    top = tl.full((BLOCK_Q,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_Q,), tl.float32)
    mixed = tl.zeros((BLOCK_Q, COLUMNS), tl.float32)
    for start in range(0, length, BLOCK_K):
        key = start + tl.arange(0, BLOCK_K)
        k = _load(k_of, head_rows, key, length, heads, WIDTH, COLUMNS)
        v = _load(v_of, head_rows, key, length, heads, WIDTH, COLUMNS)
        scores = _scores(
            q, k, relative, head_rows, query, key, frames, length, heads, scale, POSITIONS
        )
        higher = tl.maximum(top, tl.max(scores, 1))
        weights = tl.exp(scores - higher[:, None])
        shrink = tl.exp(top - higher)
        total = total * shrink + tl.sum(weights, 1)
        if DROPPED:
            keep = _keep(tl.load(seed_of), pair, query, start, threshold, BLOCK_Q, BLOCK_K)
            weights = tl.where(keep, weights, 0.0)
        mixed = mixed * shrink[:, None] + _product(weights.to(v.dtype), v)
        top = higher
    mixed = mixed * (kept_scale / total)[:, None]
    _store(out, mixed, head_rows, query, frames, heads, WIDTH, COLUMNS)
    tl.store(log_sum + pair * frames + query, top + tl.log(total), mask=query < frames)


@triton.jit(do_not_specialize=["frames", "threshold"])
def _backward_queries(
    q_of, k_of, v_of, relative, padding, seed_of, out, log_sum, d_out,
    d_q, d_relative, mean_of,
    frames, heads, scale, threshold, kept_scale,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, POSITIONS: tl.constexpr,
    PADDED: tl.constexpr, DROPPED: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """dq but for its part through `relative`, drelative, mean (B, H, T): a block of queries."""
    pair = tl.program_id(1)
    head_rows = (pair // heads).to(tl.int64) * frames * heads + pair % heads
    query = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    length = _length(padding, pair // heads, frames, PADDED, BLOCK_K)
    q = _load(q_of, head_rows, query, frames, heads, WIDTH, COLUMNS)
    d_o = _load(d_out, head_rows, query, frames, heads, WIDTH, COLUMNS)
    o = _load(out, head_rows, query, frames, heads, WIDTH, COLUMNS)
    logs = tl.load(log_sum + pair * frames + query, mask=query < frames, other=float("inf"))
    mean = tl.sum(d_o.to(tl.float32) * o.to(tl.float32), 1)
    tl.store(mean_of + pair * frames + query, mean, mask=query < frames)

    d_query = tl.zeros((BLOCK_Q, COLUMNS), tl.float32)
    # drelative's two outermost columns
    first = tl.zeros((BLOCK_Q,), tl.float32)
    last = tl.zeros((BLOCK_Q,), tl.float32)
    d_head = d_relative + head_rows * POSITIONS
    row = query[:, None] * (heads * POSITIONS)
    for start in range(0, length, BLOCK_K):
        key = start + tl.arange(0, BLOCK_K)
        k = _load(k_of, head_rows, key, length, heads, WIDTH, COLUMNS)
        v = _load(v_of, head_rows, key, length, heads, WIDTH, COLUMNS)
        scores = _scores(
            q, k, relative, head_rows, query, key, frames, length, heads, scale, POSITIONS
        )
        d_weights = _product(d_o, tl.trans(v)) * kept_scale
        if DROPPED:
            keep = _keep(tl.load(seed_of), pair, query, start, threshold, BLOCK_Q, BLOCK_K)
            d_weights = tl.where(keep, d_weights, 0.0)
        # c dS (Q, K)
        d_scores = tl.exp(scores - logs[:, None]) * (d_weights - mean[:, None]) * scale
        d_query += _product(d_scores.to(k.dtype), k)
        column = _column(query, key, POSITIONS)
        first += tl.sum(tl.where(column == 0, d_scores, 0.0), 1)
        last += tl.sum(tl.where(column == POSITIONS - 1, d_scores, 0.0), 1)
        there = (query < frames)[:, None] & (key < length)[None, :]
        inner = there & (column > 0) & (column < POSITIONS - 1)
        tl.store(d_head + (row + column), d_scores.to(d_relative.dtype.element_ty), mask=inner)
    _store(d_q, d_query, head_rows, query, frames, heads, WIDTH, COLUMNS)

    # The outermost columns, and zeros at distances where a query has no key
    for start in range(0, POSITIONS, BLOCK_K):
        column = start + tl.arange(0, BLOCK_K)[None, :]
        key = query[:, None] - (column - POSITIONS // 2)
        rest = tl.where(
            column == 0, first[:, None], tl.where(column == POSITIONS - 1, last[:, None], 0.0)
        )
        outer = (column == 0) | (column == POSITIONS - 1)
        missing = (query < frames)[:, None] & (outer | (key < 0) | (key >= length))
        mask = missing & (column < POSITIONS)
        tl.store(d_head + (row + column), rest.to(d_relative.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["frames", "threshold"])
def _backward_keys(
    q_of, k_of, v_of, relative, padding, seed_of, log_sum, mean_of, d_out,
    d_k, d_v,
    frames, heads, scale, threshold, kept_scale,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, POSITIONS: tl.constexpr,
    PADDED: tl.constexpr, DROPPED: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """dk and dv of a block of keys."""
    pair = tl.program_id(1)
    head_rows = (pair // heads).to(tl.int64) * frames * heads + pair % heads
    start = tl.program_id(0) * BLOCK_K
    key = start + tl.arange(0, BLOCK_K)
    length = _length(padding, pair // heads, frames, PADDED, BLOCK_K)
    k = _load(k_of, head_rows, key, length, heads, WIDTH, COLUMNS)
    v = _load(v_of, head_rows, key, length, heads, WIDTH, COLUMNS)
    d_key = tl.zeros((BLOCK_K, COLUMNS), tl.float32)
    d_value = tl.zeros((BLOCK_K, COLUMNS), tl.float32)
    # A block that nobody sees keeps its zeros.
    for first in range(0, tl.where(start < length, frames, 0), BLOCK_Q):
        query = first + tl.arange(0, BLOCK_Q)
        q = _load(q_of, head_rows, query, frames, heads, WIDTH, COLUMNS)
        d_o = _load(d_out, head_rows, query, frames, heads, WIDTH, COLUMNS)
        row = pair * frames + query
        logs = tl.load(log_sum + row, mask=query < frames, other=float("inf"))
        mean = tl.load(mean_of + row, mask=query < frames, other=0.0)
        scores = _scores(
            q, k, relative, head_rows, query, key, frames, length, heads, scale, POSITIONS
        )
        weights = tl.exp(scores - logs[:, None])  # A (Q, K)
        dropped = weights * kept_scale  # M * A
        d_weights = _product(d_o, tl.trans(v)) * kept_scale
        if DROPPED:
            keep = _keep(tl.load(seed_of), pair, query, start, threshold, BLOCK_Q, BLOCK_K)
            dropped = tl.where(keep, dropped, 0.0)
            d_weights = tl.where(keep, d_weights, 0.0)
        d_value += _product(tl.trans(dropped.to(d_o.dtype)), d_o)
        d_scores = weights * (d_weights - mean[:, None]) * scale  # c dS (Q, K)
        d_key += _product(tl.trans(d_scores.to(q.dtype)), q)
    _store(d_k, d_key, head_rows, key, frames, heads, WIDTH, COLUMNS)
    _store(d_v, d_value, head_rows, key, frames, heads, WIDTH, COLUMNS)


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    relative: Tensor,
    padding: Tensor | None,
    seed: Tensor | None,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """o (B, T, H, d) and log sum_j exp S_ij (B, H, T), float32.

    Args:
        query, key, value: (B, T, H, d), contiguous.
        relative: (B, T, H, R), contiguous.
        padding: (B, T) bool, True at the keys at the end that nobody sees; None: all are seen.
        seed: (1,) int64, of the mask of dropout; None where dropout is 0.
        dropout: probability of dropping an attention weight.
    """
    batch, frames, heads, _ = query.shape
    out = torch.empty_like(query)
    log_sum = query.new_empty(batch, heads, frames, dtype=torch.float32)
    tensors = (query, key, value, relative, padding, seed, out, log_sum)
    _launch(_forward, tensors, relative, padding, dropout)
    return out, log_sum


def backward_queries(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    relative: Tensor,
    padding: Tensor | None,
    seed: Tensor | None,
    dropout: float,
    out: Tensor,
    log_sum: Tensor,
    d_out: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """dq (B, T, H, d) but for its part through relative, drelative, and mean (B, H, T), float32.

    Args:
        query, key, value, relative, padding, seed, dropout: as in `forward`.
        out, log_sum: what that returned.
        d_out: gradient of `out`, contiguous.
    """
    d_query, d_relative = torch.empty_like(query), torch.empty_like(relative)
    mean = torch.empty_like(log_sum)
    tensors = (query, key, value, relative, padding, seed, out, log_sum, d_out)
    outputs = (d_query, d_relative, mean)
    _launch(_backward_queries, tensors + outputs, relative, padding, dropout)
    return d_query, d_relative, mean


def backward_keys(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    relative: Tensor,
    padding: Tensor | None,
    seed: Tensor | None,
    dropout: float,
    log_sum: Tensor,
    mean: Tensor,
    d_out: Tensor,
) -> tuple[Tensor, Tensor]:
    """dk and dv (B, T, H, d).

    Args:
        query, key, value, relative, padding, seed, dropout, log_sum, d_out: as before.
        mean: what `backward_queries` returned.
    """
    d_key, d_value = torch.empty_like(key), torch.empty_like(value)
    tensors = (query, key, value, relative, padding, seed, log_sum, mean, d_out, d_key, d_value)
    _launch(_backward_keys, tensors, relative, padding, dropout)
    return d_key, d_value


def _launch(kernel, tensors, relative: Tensor, padding: Tensor | None, dropout: float):
    """Runs a program for each block of frames of each row and head."""
    query = tensors[0]
    batch, frames, heads, width = query.shape
    block = BLOCK_BYTES // query.element_size()
    threshold = round(dropout * STEPS)
    with torch.cuda.device_of(query):
        kernel[(triton.cdiv(frames, block), batch * heads)](
            *tensors,
            frames,
            heads,
            width**-0.5,
            threshold,
            STEPS / max(1, STEPS - threshold),
            WIDTH=width,
            COLUMNS=max(16, triton.next_power_of_2(width)),
            POSITIONS=relative.shape[-1],
            PADDED=padding is not None,
            DROPPED=threshold > 0,
            BLOCK_Q=block,
            BLOCK_K=block,
            num_warps=WARPS,
        )
