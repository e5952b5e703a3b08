"""Relative attention on a GPU, in Triton: block by block, with nothing of size T x T in memory.

B rows, H heads, T frames, d head width, R relative positions. Queries, keys and values lie as one
projection leaves them, side by side in each frame, (B, T, 3, H, d), and so do their gradients.
With c = 1 / sqrt(d) and r(i, j) = clip(i - j) + R / 2,

    S_ij = c (q_i . k_j + relative_i,r(i,j)),   A = softmax(S),   o_i = sum_j M_ij A_ij v_j,

where relative = q e^T (H, B, T, R) comes from memory, M is the mask of dropout, zeros and
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

from speechlm.kernels.triton_dropout import keep_mask, scale_of, threshold_of

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
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
def _places(frame, stop, stride, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """Offsets (frames, COLUMNS) of one head's numbers, frames `stride` apart; which are there.

    In 32 bits, as offsets of a block's every number take registers; where a row begins, which
    needs 64, is added to the pointer.
    """
    column = tl.arange(0, COLUMNS)
    offset = frame[:, None] * stride + column[None, :]
    return offset, (frame < stop)[:, None] & (column < WIDTH)[None, :]


@triton.jit
def _load(x, begin, frame, stop, stride, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """A block (frames, COLUMNS) of one head; zeros from `stop` and from WIDTH on."""
    offset, there = _places(frame, stop, stride, WIDTH, COLUMNS)
    return tl.load(x + begin + offset, mask=there, other=0.0)


@triton.jit
def _store(x, block, begin, frame, stop, stride, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """The inverse of _load."""
    offset, there = _places(frame, stop, stride, WIDTH, COLUMNS)
    tl.store(x + begin + offset, block.to(x.dtype.element_ty), mask=there)


@triton.jit
def _begins(pair, frames, heads, WIDTH: tl.constexpr, POSITIONS: tl.constexpr):
    """Where a row and head begin: among q, k, v (B, T, 3, H, d); o (B, T, H, d); relative."""
    row, head = (pair // heads).to(tl.int64), pair % heads
    batch = tl.num_programs(1) // heads
    place = row * frames * heads * WIDTH
    return 3 * place + head * WIDTH, place + head * WIDTH, (head * batch + row) * frames * POSITIONS


@triton.jit
def _column(query, key, POSITIONS: tl.constexpr):
    """(Q, K): the column of `relative` that each query takes for each key."""
    distance = query[:, None] - key[None, :]
    return tl.minimum(tl.maximum(distance, -(POSITIONS // 2)), POSITIONS // 2 - 1) + POSITIONS // 2


@triton.jit
def _scores(q, k, relative, query, key, frames, length, scale, POSITIONS: tl.constexpr):
    """S (Q, K) of a block, -inf for keys that are not seen; `relative` (T, R) of its head."""
    offset = query[:, None] * POSITIONS + _column(query, key, POSITIONS)
    there = (query < frames)[:, None] & (key < length)[None, :]
    at_distance = tl.load(relative + offset, mask=there, other=0.0)
    scores = (_product(q, tl.trans(k)) + at_distance) * scale
    return tl.where((key < length)[None, :], scores, float("-inf"))


@triton.jit(do_not_specialize=["frames", "threshold"], do_not_specialize_on_alignment=["seed_of"])
def _forward(
    q_of, k_of, v_of, relative, padding, seed_of, out, log_sum,
    frames, heads, scale, threshold, kept_scale,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, POSITIONS: tl.constexpr,
    PADDED: tl.constexpr, DROPPED: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """o and log sum_j exp S_ij (B, H, T), for a block of queries."""
    pair = tl.program_id(1)
    begin, begin_out, begin_relative = _begins(pair, frames, heads, WIDTH, POSITIONS)
    relative += begin_relative
    stride, stride_out = 3 * heads * WIDTH, heads * WIDTH
    query = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    length = _length(padding, pair // heads, frames, PADDED, BLOCK_K)
    q = _load(q_of, begin, query, frames, stride, WIDTH, COLUMNS)

    # Sums over the keys so far, each times exp(-top) with the largest score so far:
    # total_i = sum_j exp S_ij (Q,), mixed_i = sum_j M_ij exp(S_ij) v_j (Q, COLUMNS)
    top = tl.full((BLOCK_Q,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_Q,), tl.float32)
    mixed = tl.zeros((BLOCK_Q, COLUMNS), tl.float32)
    for start in range(0, length, BLOCK_K):
        key = start + tl.arange(0, BLOCK_K)
        k = _load(k_of, begin, key, length, stride, WIDTH, COLUMNS)
        v = _load(v_of, begin, key, length, stride, WIDTH, COLUMNS)
        scores = _scores(q, k, relative, query, key, frames, length, scale, POSITIONS)
        higher = tl.maximum(top, tl.max(scores, 1))
        weights = tl.exp(scores - higher[:, None])
        shrink = tl.exp(top - higher)
        total = total * shrink + tl.sum(weights, 1)
        if DROPPED:
            keep = keep_mask(tl.load(seed_of), pair, query, start, threshold, BLOCK_Q, BLOCK_K)
            weights = tl.where(keep, weights, 0.0)
        mixed = mixed * shrink[:, None] + _product(weights.to(v.dtype), v)
        top = higher
    mixed = mixed * (kept_scale / total)[:, None]
    _store(out, mixed, begin_out, query, frames, stride_out, WIDTH, COLUMNS)
    tl.store(log_sum + pair * frames + query, top + tl.log(total), mask=query < frames)


@triton.jit(do_not_specialize=["frames", "threshold"], do_not_specialize_on_alignment=["seed_of"])
def _backward_queries(
    q_of, k_of, v_of, relative, padding, seed_of, out, log_sum, d_out,
    d_q, d_relative, mean_of,
    frames, heads, scale, threshold, kept_scale,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, POSITIONS: tl.constexpr,
    PADDED: tl.constexpr, DROPPED: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """dq but for its part through `relative`, drelative, mean (B, H, T): a block of queries."""
    pair = tl.program_id(1)
    begin, begin_out, begin_relative = _begins(pair, frames, heads, WIDTH, POSITIONS)
    relative += begin_relative
    stride, stride_out = 3 * heads * WIDTH, heads * WIDTH
    query = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    length = _length(padding, pair // heads, frames, PADDED, BLOCK_K)
    q = _load(q_of, begin, query, frames, stride, WIDTH, COLUMNS)
    d_o = _load(d_out, begin_out, query, frames, stride_out, WIDTH, COLUMNS)
    o = _load(out, begin_out, query, frames, stride_out, WIDTH, COLUMNS)
    logs = tl.load(log_sum + pair * frames + query, mask=query < frames, other=float("inf"))
    mean = tl.sum(d_o.to(tl.float32) * o.to(tl.float32), 1)
    tl.store(mean_of + pair * frames + query, mean, mask=query < frames)

    d_query = tl.zeros((BLOCK_Q, COLUMNS), tl.float32)
    # drelative's two outermost columns
    first = tl.zeros((BLOCK_Q,), tl.float32)
    last = tl.zeros((BLOCK_Q,), tl.float32)
    d_head = d_relative + begin_relative
    row = query[:, None] * POSITIONS
    for start in range(0, length, BLOCK_K):
        key = start + tl.arange(0, BLOCK_K)
        k = _load(k_of, begin, key, length, stride, WIDTH, COLUMNS)
        v = _load(v_of, begin, key, length, stride, WIDTH, COLUMNS)
        scores = _scores(q, k, relative, query, key, frames, length, scale, POSITIONS)
        d_weights = _product(d_o, tl.trans(v)) * kept_scale
        if DROPPED:
            keep = keep_mask(tl.load(seed_of), pair, query, start, threshold, BLOCK_Q, BLOCK_K)
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
    _store(d_q, d_query, begin, query, frames, stride, WIDTH, COLUMNS)

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


@triton.jit(do_not_specialize=["frames", "threshold"], do_not_specialize_on_alignment=["seed_of"])
def _backward_keys(
    q_of, k_of, v_of, relative, padding, seed_of, log_sum, mean_of, d_out,
    d_k, d_v,
    frames, heads, scale, threshold, kept_scale,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, POSITIONS: tl.constexpr,
    PADDED: tl.constexpr, DROPPED: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """dk and dv of a block of keys."""
    pair = tl.program_id(1)
    begin, begin_out, begin_relative = _begins(pair, frames, heads, WIDTH, POSITIONS)
    relative += begin_relative
    stride, stride_out = 3 * heads * WIDTH, heads * WIDTH
    start = tl.program_id(0) * BLOCK_K
    key = start + tl.arange(0, BLOCK_K)
    length = _length(padding, pair // heads, frames, PADDED, BLOCK_K)
    k = _load(k_of, begin, key, length, stride, WIDTH, COLUMNS)
    v = _load(v_of, begin, key, length, stride, WIDTH, COLUMNS)
    d_key = tl.zeros((BLOCK_K, COLUMNS), tl.float32)
    d_value = tl.zeros((BLOCK_K, COLUMNS), tl.float32)
    # A block that nobody sees keeps its zeros.
    for first in range(0, tl.where(start < length, frames, 0), BLOCK_Q):
        query = first + tl.arange(0, BLOCK_Q)
        q = _load(q_of, begin, query, frames, stride, WIDTH, COLUMNS)
        d_o = _load(d_out, begin_out, query, frames, stride_out, WIDTH, COLUMNS)
        row = pair * frames + query
        logs = tl.load(log_sum + row, mask=query < frames, other=float("inf"))
        mean = tl.load(mean_of + row, mask=query < frames, other=0.0)
        scores = _scores(q, k, relative, query, key, frames, length, scale, POSITIONS)
        weights = tl.exp(scores - logs[:, None])  # A (Q, K)
        dropped = weights * kept_scale  # M * A
        d_weights = _product(d_o, tl.trans(v)) * kept_scale
        if DROPPED:
            keep = keep_mask(tl.load(seed_of), pair, query, start, threshold, BLOCK_Q, BLOCK_K)
            dropped = tl.where(keep, dropped, 0.0)
            d_weights = tl.where(keep, d_weights, 0.0)
        d_value += _product(tl.trans(dropped.to(d_o.dtype)), d_o)
        d_scores = weights * (d_weights - mean[:, None]) * scale  # c dS (Q, K)
        d_key += _product(tl.trans(d_scores.to(q.dtype)), q)
    _store(d_k, d_key, begin, key, frames, stride, WIDTH, COLUMNS)
    _store(d_v, d_value, begin, key, frames, stride, WIDTH, COLUMNS)


def forward(
    qkv: Tensor, relative: Tensor, padding: Tensor | None, seed: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """o (B, T, H, d) and log sum_j exp S_ij (B, H, T), float32.

    Args:
        qkv: (B, T, 3, H, d), contiguous.
        relative: (H, B, T, R), contiguous.
        padding: (B, T) bool, True at the keys at the end that nobody sees; None: all are seen.
        seed: (1,) int64, of the mask of dropout; None where dropout is 0.
        dropout: probability of dropping an attention weight.
    """
    batch, frames, _, heads, width = qkv.shape
    out = qkv.new_empty(batch, frames, heads, width)
    log_sum = qkv.new_empty(batch, heads, frames, dtype=torch.float32)
    tensors = (*qkv.unbind(2), relative, padding, seed, out, log_sum)
    _launch(_forward, tensors, qkv, relative, padding, dropout)
    return out, log_sum


def backward_queries(
    qkv: Tensor,
    relative: Tensor,
    padding: Tensor | None,
    seed: Tensor | None,
    dropout: float,
    out: Tensor,
    log_sum: Tensor,
    d_out: Tensor,
    d_query: Tensor,
) -> tuple[Tensor, Tensor]:
    """drelative, and mean (B, H, T), float32.

    Args:
        qkv, relative, padding, seed, dropout: as in `forward`.
        out, log_sum: what that returned.
        d_out: gradient of `out`, contiguous.
        d_query: place (B, T, H, d) among gradients (B, T, 3, H, d) for dq but for its part through
            `relative`.
    """
    d_relative, mean = torch.empty_like(relative), torch.empty_like(log_sum)
    tensors = (*qkv.unbind(2), relative, padding, seed, out, log_sum, d_out)
    outputs = (d_query, d_relative, mean)
    _launch(_backward_queries, tensors + outputs, qkv, relative, padding, dropout)
    return d_relative, mean


def backward_keys(
    qkv: Tensor,
    relative: Tensor,
    padding: Tensor | None,
    seed: Tensor | None,
    dropout: float,
    log_sum: Tensor,
    mean: Tensor,
    d_out: Tensor,
    d_key_value: Tensor,
) -> None:
    """Gradients of keys and values.

    Args:
        qkv, relative, padding, seed, dropout, log_sum, d_out: as before.
        mean: what `backward_queries` returned.
        d_key_value: place (B, T, 2, H, d) for them among gradients (B, T, 3, H, d).
    """
    tensors = (*qkv.unbind(2), relative, padding, seed, log_sum, mean, d_out)
    outputs = d_key_value.unbind(2)
    _launch(_backward_keys, tensors + outputs, qkv, relative, padding, dropout)


def _launch(
    kernel, tensors, qkv: Tensor, relative: Tensor, padding: Tensor | None, dropout: float
) -> None:
    """Runs a program for each block of frames of each row and head."""
    batch, frames, _, heads, width = qkv.shape
    block = BLOCK_BYTES // qkv.element_size()
    threshold = threshold_of(dropout)
    with torch.cuda.device_of(qkv):
        kernel[(triton.cdiv(frames, block), batch * heads)](
            *tensors,
            frames,
            heads,
            width**-0.5,
            threshold,
            scale_of(threshold),
            WIDTH=width,
            COLUMNS=max(16, triton.next_power_of_2(width)),
            POSITIONS=relative.shape[-1],
            PADDED=padding is not None,
            DROPPED=threshold > 0,
            BLOCK_Q=block,
            BLOCK_K=block,
            num_warps=WARPS,
        )
