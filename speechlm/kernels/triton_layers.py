"""What stands between the products of a Transformer layer, in Triton: each a kernel a direction.

N rows (frames of all utterances), D numbers a row. Sums are in float32. Gradients of weights that
are the same for all rows are sums over rows: each program leaves a part of them, (P, .., D), for
the caller to add up, so that nothing is added by atomics and every run gives the same bits.

It has not run on a GPU yet: blocks and warps are guesses.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from speechlm.kernels.triton_dropout import keep_mask, scale_of, threshold_of

PROGRAMS = 132
"""How many share the rows of a backward pass: the multiprocessors of an H100."""
NUMBERS = 4096
"""Of a block; a program has eight warps for them."""


@triton.jit
def _drop(x, seed_of, row, start, threshold, kept_scale, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Zeros some numbers of a block, and scales the others."""
    keep = keep_mask(tl.load(seed_of), 0, row, start, threshold, ROWS, COLUMNS)
    return tl.where(keep, x * kept_scale, 0.0)


@triton.jit(do_not_specialize=["rows", "threshold"], do_not_specialize_on_alignment=["seed_of"])
def _add_norm(
    branch, bias, residual, weight, shift, seed_of, total, normed, statistics,
    rows, threshold, kept_scale, epsilon,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr,
    BRANCH: tl.constexpr, BIASED: tl.constexpr, DROPPED: tl.constexpr, NORMED: tl.constexpr,
):  # fmt: skip
    """s = residual + dropout(branch + bias), y = (s - mean) / deviation * weight + shift."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    inside = column < WIDTH
    there = (row < rows)[:, None] & inside[None, :]
    place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    s = tl.load(residual + place, mask=there, other=0.0).to(tl.float32)
    if BRANCH:
        x = tl.load(branch + place, mask=there, other=0.0).to(tl.float32)
        if BIASED:
            x += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
        if DROPPED:
            x = _drop(x, seed_of, row, 0, threshold, kept_scale, ROWS, COLUMNS)
        # The norm is of what is stored, as the backward pass will read it.
        rounded = (s + x).to(total.dtype.element_ty)
        tl.store(total + place, rounded, mask=there)
        s = rounded.to(tl.float32)
    if NORMED:
        mean = tl.sum(s, 1) / WIDTH
        s = tl.where(there, s - mean[:, None], 0.0)
        scale = 1.0 / tl.sqrt(tl.sum(s * s, 1) / WIDTH + epsilon)
        w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
        b = tl.load(shift + column, mask=inside, other=0.0).to(tl.float32)
        y = s * scale[:, None] * w[None, :] + b[None, :]
        tl.store(normed + place, y.to(normed.dtype.element_ty), mask=there)
        tl.store(statistics + row * 2, mean, mask=row < rows)
        tl.store(statistics + row * 2 + 1, scale, mask=row < rows)


@triton.jit(
    do_not_specialize=["rows", "share", "threshold"], do_not_specialize_on_alignment=["seed_of"]
)
def _add_norm_backward(
    d_total, d_normed, total, weight, statistics, seed_of, d_residual, d_branch, parts,
    rows, share, threshold, kept_scale,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr,
    BRANCH: tl.constexpr, DROPPED: tl.constexpr, NORMED: tl.constexpr, ADDED: tl.constexpr,
):  # fmt: skip
    """Gradients of a share of the rows; parts (P, 3, D) of those of weight, shift and bias."""
    column = tl.arange(0, COLUMNS)
    inside = column < WIDTH
    d_weight = tl.zeros((COLUMNS,), tl.float32)
    d_shift = tl.zeros((COLUMNS,), tl.float32)
    d_bias = tl.zeros((COLUMNS,), tl.float32)
    first = tl.program_id(0) * share
    last = tl.minimum(first + share, rows)
    for start in range(first, last, ROWS):
        row = start + tl.arange(0, ROWS)
        there = (row < last)[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
        d = tl.zeros((ROWS, COLUMNS), tl.float32)
        if NORMED:
            # With u = (s - mean) scale:  ds = scale (g - mean(g) - u mean(g u)),  g = dy weight
            s = tl.load(total + place, mask=there, other=0.0).to(tl.float32)
            d_y = tl.load(d_normed + place, mask=there, other=0.0).to(tl.float32)
            mean = tl.load(statistics + row * 2, mask=row < last, other=0.0)
            scale = tl.load(statistics + row * 2 + 1, mask=row < last, other=0.0)
            w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
            u = tl.where(there, (s - mean[:, None]) * scale[:, None], 0.0)
            d_weight += tl.sum(d_y * u, 0)
            d_shift += tl.sum(d_y, 0)
            g = d_y * w[None, :]
            mean_g, mean_gu = tl.sum(g, 1) / WIDTH, tl.sum(g * u, 1) / WIDTH
            d = (g - mean_g[:, None] - u * mean_gu[:, None]) * scale[:, None]
        if ADDED:
            d += tl.load(d_total + place, mask=there, other=0.0).to(tl.float32)
        if NORMED:
            tl.store(d_residual + place, d.to(d_residual.dtype.element_ty), mask=there)
        if BRANCH:
            if DROPPED:
                d = _drop(d, seed_of, row, 0, threshold, kept_scale, ROWS, COLUMNS)
                tl.store(d_branch + place, d.to(d_branch.dtype.element_ty), mask=there)
            d_bias += tl.sum(tl.where(there, d, 0.0), 0)
    part = parts + tl.program_id(0) * (3 * WIDTH) + column
    tl.store(part, d_weight, mask=inside)
    tl.store(part + WIDTH, d_shift, mask=inside)
    tl.store(part + 2 * WIDTH, d_bias, mask=inside)


@triton.jit
def _normal(x):
    """The share of a normal distribution that is below x: gelu(x) = x times it."""
    return 0.5 * (1.0 + tl.erf(x * 0.7071067811865476))


@triton.jit(do_not_specialize=["rows", "threshold"], do_not_specialize_on_alignment=["seed_of"])
def _bias_gelu(
    x_of, bias, seed_of, out, rows, threshold, kept_scale,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DROPPED: tl.constexpr,
):  # fmt: skip
    """dropout(gelu(x + bias)) of a block."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    start = tl.program_id(1) * COLUMNS
    column = start + tl.arange(0, COLUMNS)
    there = (row < rows)[:, None] & (column < WIDTH)[None, :]
    place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    x = tl.load(x_of + place, mask=there, other=0.0).to(tl.float32)
    x += tl.load(bias + column, mask=column < WIDTH, other=0.0).to(tl.float32)[None, :]
    y = x * _normal(x)
    if DROPPED:
        y = _drop(y, seed_of, row, start, threshold, kept_scale, ROWS, COLUMNS)
    tl.store(out + place, y.to(out.dtype.element_ty), mask=there)


@triton.jit(
    do_not_specialize=["rows", "share", "threshold"], do_not_specialize_on_alignment=["seed_of"]
)
def _bias_gelu_backward(
    d_out, x_of, bias, seed_of, d_x, parts, rows, share, threshold, kept_scale,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DROPPED: tl.constexpr,
):  # fmt: skip
    """dx of a share of the rows and a block of columns; a part (P, D) of the gradient of bias."""
    start = tl.program_id(1) * COLUMNS
    column = start + tl.arange(0, COLUMNS)
    inside = column < WIDTH
    b = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    d_bias = tl.zeros((COLUMNS,), tl.float32)
    first = tl.program_id(0) * share
    last = tl.minimum(first + share, rows)
    for begin in range(first, last, ROWS):
        row = begin + tl.arange(0, ROWS)
        there = (row < last)[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
        x = tl.load(x_of + place, mask=there, other=0.0).to(tl.float32) + b[None, :]
        d = tl.load(d_out + place, mask=there, other=0.0).to(tl.float32)
        if DROPPED:
            d = _drop(d, seed_of, row, start, threshold, kept_scale, ROWS, COLUMNS)
        # gelu'(x) = Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi)
        d *= _normal(x) + x * tl.exp(-0.5 * x * x) * 0.3989422804014327
        tl.store(d_x + place, d.to(d_x.dtype.element_ty), mask=there)
        d_bias += tl.sum(tl.where(there, d, 0.0), 0)
    tl.store(parts + tl.program_id(0) * WIDTH + column, d_bias, mask=inside)


def add_norm(
    branch: Tensor | None,
    bias: Tensor | None,
    residual: Tensor,
    weight: Tensor | None,
    shift: Tensor | None,
    seed: Tensor | None,
    dropout: float,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """residual + dropout(branch + bias), its layer norm, and mean and 1 / deviation (N, 2).

    Args:
        branch: (.., D), contiguous; None: zero, and the sum that is returned is empty.
        bias: (D,); None: zero.
        residual: (.., D), contiguous.
        weight, shift: (D,) of the norm; None: no norm, and what is returned of it is empty.
        seed: (1,) int64, of the mask of dropout; None where dropout is 0.
        dropout: probability of dropping a number of the branch.
        epsilon: what the norm adds to the variance.
    """
    total = torch.empty_like(residual) if branch is not None else residual.new_empty(0)
    normed = torch.empty_like(residual) if weight is not None else residual.new_empty(0)
    width = residual.shape[-1]
    rows = residual.numel() // width
    statistics = residual.new_empty(rows if weight is not None else 0, 2, dtype=torch.float32)
    threshold = threshold_of(dropout)
    block, columns = _block(width)
    with torch.cuda.device_of(residual):
        _add_norm[(triton.cdiv(rows, block),)](
            *(branch, bias, residual, weight, shift, seed, total, normed, statistics),
            *(rows, threshold, scale_of(threshold), epsilon),
            WIDTH=width,
            COLUMNS=columns,
            ROWS=block,
            BRANCH=branch is not None,
            BIASED=bias is not None,
            DROPPED=threshold > 0,
            NORMED=weight is not None,
            num_warps=8,
        )
    return total, normed, statistics


def add_norm_backward(
    d_total: Tensor | None,
    d_normed: Tensor | None,
    total: Tensor | None,
    weight: Tensor | None,
    statistics: Tensor | None,
    seed: Tensor | None,
    dropout: float,
    branch: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of residual and branch, and parts (P, 3, D) of those of weight, shift and bias.

    Without a norm the gradient of the residual is `d_total`, and what is returned is empty; so is
    the branch's where nothing is dropped, as it is the residual's.

    Args:
        d_total, d_normed: gradients of the sum and of the norm, contiguous; None: zero.
        total: the sum, or the residual where there was no branch.
        weight, seed, dropout: as in `add_norm`.
        statistics: what that returned.
        branch: whether there was one.
    """
    like = d_total if d_normed is None else d_normed
    assert like is not None
    threshold, width = threshold_of(dropout), like.shape[-1]
    rows, (block, columns) = like.numel() // width, _block(width)
    programs, share = _shares(rows, block, PROGRAMS)
    d_residual = torch.empty_like(like) if d_normed is not None else like.new_empty(0)
    d_branch = torch.empty_like(like) if branch and threshold else like.new_empty(0)
    parts = like.new_empty(programs, 3, width, dtype=torch.float32)
    with torch.cuda.device_of(like):
        _add_norm_backward[(programs,)](
            *(d_total, d_normed, total, weight, statistics, seed, d_residual, d_branch, parts),
            *(rows, share, threshold, scale_of(threshold)),
            WIDTH=width,
            COLUMNS=columns,
            ROWS=block,
            BRANCH=branch,
            DROPPED=threshold > 0,
            NORMED=d_normed is not None,
            ADDED=d_total is not None,
            num_warps=8,
        )
    return d_residual, d_branch, parts


def bias_gelu(x: Tensor, bias: Tensor, seed: Tensor | None, dropout: float) -> Tensor:
    """dropout(gelu(x + bias)).

    Args:
        x: (.., D), contiguous.
        bias: (D,).
        seed, dropout: as in `add_norm`.
    """
    out, threshold, width = torch.empty_like(x), threshold_of(dropout), x.shape[-1]
    rows, block, columns = x.numel() // width, *_tile(width)
    with torch.cuda.device_of(x):
        _bias_gelu[(triton.cdiv(rows, block), triton.cdiv(width, columns))](
            *(x, bias, seed, out, rows, threshold, scale_of(threshold)),
            WIDTH=width,
            ROWS=block,
            COLUMNS=columns,
            DROPPED=threshold > 0,
            num_warps=8,
        )
    return out


def bias_gelu_backward(
    d_out: Tensor, x: Tensor, bias: Tensor, seed: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """Gradient of x, and parts (P, D) of that of bias.

    Args:
        d_out: gradient of the output, contiguous.
        x, bias, seed, dropout: as in `bias_gelu`.
    """
    d_x, threshold, width = torch.empty_like(x), threshold_of(dropout), x.shape[-1]
    rows, block, columns = x.numel() // width, *_tile(width)
    blocks = triton.cdiv(width, columns)
    programs, share = _shares(rows, block, max(1, 4 * PROGRAMS // blocks))
    parts = x.new_empty(programs, width, dtype=torch.float32)
    with torch.cuda.device_of(x):
        _bias_gelu_backward[(programs, blocks)](
            *(d_out, x, bias, seed, d_x, parts),
            *(rows, share, threshold, scale_of(threshold)),
            WIDTH=width,
            ROWS=block,
            COLUMNS=columns,
            DROPPED=threshold > 0,
            num_warps=8,
        )
    return d_x, parts


def _block(width: int) -> tuple[int, int]:
    """Rows and columns of a block of whole rows."""
    columns = max(16, triton.next_power_of_2(width))
    return max(1, NUMBERS // columns), columns


def _tile(width: int) -> tuple[int, int]:
    """Rows and columns of a block that need not have whole rows."""
    columns = min(128, max(16, triton.next_power_of_2(width)))
    return NUMBERS // columns, columns


def _shares(rows: int, block: int, most: int) -> tuple[int, int]:
    """Into how many shares of whole blocks rows are cut, at most so many, and rows of a share."""
    share = triton.cdiv(triton.cdiv(rows, block), most) * block
    return max(1, triton.cdiv(rows, share)), share
