"""Masks of dropout within kernels in Triton: drawn where they are needed, and never stored.

A bit follows from a seed and from where its number stands, so that the backward pass has the mask
of the forward pass without reading it, and every run gives the same bits.
"""

from __future__ import annotations

import triton
import triton.language as tl

STEPS = 1 << 24
"""Probabilities are rounded to multiples of 1 / STEPS."""


@triton.jit
def keep_mask(seed, plane, row, start, threshold, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """(ROWS, COLUMNS) bool: which numbers dropout keeps, for columns from `start` on.

    Column j takes number j % 4 of the four that Philox (Salmon et al. 2011; seven rounds) gives for
    the counter (j // 4, row, plane, 0).

    Args:
        seed: 62 bits.
        plane: which matrix of the tensor.
        row: (ROWS,) rows of it.
        start: first column, a multiple of four.
        threshold: of `threshold_of`.
        ROWS, COLUMNS: powers of two; COLUMNS at least four.
    """
    zero = tl.zeros((ROWS, COLUMNS // 4), tl.int32)
    fourth = zero + (start // 4 + tl.arange(0, COLUMNS // 4))[None, :]
    a, b, c, d = tl.philox(seed, fourth, zero + row[:, None], zero + plane, zero, 7)
    bits = tl.interleave(tl.interleave(a, c), tl.interleave(b, d))
    return (bits >> 8).to(tl.int32) >= threshold


def threshold_of(dropout: float) -> int:
    """What 24 random bits must reach to keep a number; 0: nothing is dropped."""
    return round(dropout * STEPS)


def scale_of(threshold: int) -> float:
    """What kept numbers are multiplied by, 1 / (1 - p)."""
    return STEPS / max(1, STEPS - threshold)
