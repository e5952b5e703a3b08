"""Frames that are overwritten, and rows of a table in their place, for GPUs.

torch sorts indices for the gradient of an embedding, and writes what is masked as zeros, twice.
Here the gradients are products with zeros and ones, which sum in a fixed order, and one copy.

B batch, T frames, D width, R rows of a table.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechlm.kernels.products import without_autocast

ALIGNMENT = 8
"""Tensor cores take rows of a multiple of so many numbers."""


def fill_frames(x: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    """x (B, T, D) with value (D,) in the frames of mask (B, T), in the type of x."""
    return _FillFrames.apply(x, mask, value)


class _FillFrames(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, mask: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.dtype = value.dtype
        return value.to(x.dtype).where(mask[..., None], x)

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx, d_y: Tensor):
        (mask,) = ctx.saved_tensors
        # (1, B T) zeros and ones . (B T, D): the sum over masked frames
        chosen = mask.view(1, -1).to(d_y.dtype)
        d_value = (chosen @ d_y.flatten(0, 1))[0].to(ctx.dtype)
        return d_y.masked_fill(mask[..., None], 0.0), None, d_value


def rows_of(
    table: Tensor, last: Tensor, picked: Tensor, counted: Tensor, dtype: torch.dtype
) -> Tensor:
    """Rows of a table and of one more row: (R, D), (D,), (B, T) numbers -> (B, T, D).

    Args:
        table: (R, D).
        last: (D,), row R.
        picked: (B, T) which rows.
        counted: (B, T) rows to which gradients go, `picked` or R + 1, which is no row.
        dtype: of the result.
    """
    return _RowsOf.apply(table, last, picked, counted, dtype)


class _RowsOf(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: Tensor, last: Tensor, picked: Tensor, counted: Tensor, dtype):
        ctx.save_for_backward(counted)
        ctx.rows, ctx.dtype = len(table), table.dtype
        both = table.new_empty(len(table) + 1, table.shape[1], dtype=dtype)
        torch._foreach_copy_([both[:-1], both[-1]], [table, last])
        return F.embedding(picked, both)

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx, d_y: Tensor):
        (counted,) = ctx.saved_tensors
        sums = _sums_by_row(d_y, counted, ctx.rows + 1).to(ctx.dtype)
        return sums[:-1], sums[-1], None, None, None


def swap_rows(
    hidden: Tensor, table: Tensor, picked: Tensor, swapped: Tensor, counted: Tensor
) -> Tensor:
    """hidden (B, T, D), in whose swapped (B, T) frames stand rows of a table (R, D).

    Args:
        hidden: (B, T, D).
        table: (R, D), of the same type.
        picked: (B, T) which rows.
        swapped: (B, T) bool, frames that are overwritten.
        counted: (B, T) rows to which gradients go: of swapped frames `picked` or R, which is no
            row; R elsewhere.
    """
    return _SwapRows.apply(hidden, table, picked, swapped, counted)


class _SwapRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, hidden: Tensor, table: Tensor, picked: Tensor, swapped: Tensor, counted: Tensor
    ) -> Tensor:
        ctx.save_for_backward(swapped, counted)
        ctx.rows = len(table)
        return F.embedding(picked, table).where(swapped[..., None], hidden)

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx, d_y: Tensor):
        swapped, counted = ctx.saved_tensors
        d_hidden = d_y.masked_fill(swapped[..., None], 0.0)
        return d_hidden, _sums_by_row(d_y, counted, ctx.rows), None, None, None


def _sums_by_row(d_y: Tensor, counted: Tensor, rows: int) -> Tensor:
    """For each row the sum of d_y (B, T, D) over the frames that count to it: (R, D)."""
    d_y, counted = d_y.flatten(0, 1), counted.flatten()
    # (B T, R + 1 or some more) ones at each frame's row
    columns = rows + 1 + -(rows + 1) % ALIGNMENT
    ones = d_y.new_zeros(len(d_y), columns).scatter_(1, counted[:, None], 1.0)
    return ones[:, :rows].mT @ d_y
