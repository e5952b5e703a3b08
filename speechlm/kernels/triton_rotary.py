"""Rotary positions of queries and keys, in Triton: a kernel a direction.

It has not run on a GPU yet.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _turn(
    x, out, frame, head, count, cosine, sine, width, HALF: tl.constexpr, COLUMNS: tl.constexpr
):
    """Pairs (a, b) of one frame's heads become (a cos - b sin, b cos + a sin)."""
    column = tl.arange(0, COLUMNS)
    there = (head < count)[:, None] & (column < HALF)[None, :]
    place = frame * width + head[:, None] * (2 * HALF) + column[None, :]
    a = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    b = tl.load(x + place + HALF, mask=there, other=0.0).to(tl.float32)
    first, second = a * cosine - b * sine, b * cosine + a * sine
    return place, there, first.to(out.dtype.element_ty), second.to(out.dtype.element_ty)


@triton.jit
def _angles(cosines, sines, time, HALF: tl.constexpr, COLUMNS: tl.constexpr):
    """Cosines and sines (1, COLUMNS) of a time, from the tables of `rotations`."""
    column = tl.arange(0, COLUMNS)
    place = time * (2 * HALF) + column
    cosine = tl.load(cosines + place, mask=column < HALF, other=0.0).to(tl.float32)
    sine = tl.load(sines + place + HALF, mask=column < HALF, other=0.0).to(tl.float32)
    return cosine[None, :], sine[None, :]


@triton.jit
def _forward(
    qkv, cosines, sines, out, frames, heads,
    HALF: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Queries and keys (B, T, 2, H, d) of a frame of (B, T, 3, H, d)."""
    frame = tl.program_id(0).to(tl.int64)
    cosine, sine = _angles(cosines, sines, tl.program_id(0) % frames, HALF, COLUMNS)
    head = tl.arange(0, ROWS)
    width = heads * 2 * HALF
    place, there, first, second = _turn(
        qkv, out, frame, head, 2 * heads, cosine, sine, 3 * width, HALF, COLUMNS
    )
    place -= frame * width
    tl.store(out + place, first, mask=there)
    tl.store(out + place + HALF, second, mask=there)


@triton.jit
def _backward(
    d_q, d_k, d_v, cosines, sines, d_qkv, frames, heads,
    HALF: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A frame of the gradient of (B, T, 3, H, d): queries and keys turned back, and values."""
    frame = tl.program_id(0).to(tl.int64)
    cosine, sine = _angles(cosines, sines, tl.program_id(0) % frames, HALF, COLUMNS)
    head = tl.arange(0, ROWS)
    width = heads * 2 * HALF
    into = d_qkv + 2 * frame * width
    place, there, first, second = _turn(
        d_q, d_qkv, frame, head, heads, cosine, -sine, width, HALF, COLUMNS
    )
    tl.store(into + place, first, mask=there)
    tl.store(into + place + HALF, second, mask=there)
    place, there, first, second = _turn(
        d_k, d_qkv, frame, head, heads, cosine, -sine, width, HALF, COLUMNS
    )
    tl.store(into + width + place, first, mask=there)
    tl.store(into + width + place + HALF, second, mask=there)
    into += 2 * width
    tl.store(into + place, tl.load(d_v + place, mask=there), mask=there)
    tl.store(into + place + HALF, tl.load(d_v + place + HALF, mask=there), mask=there)


def forward(qkv: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turned queries and keys (B, T, 2, H, d).

    Args:
        qkv: (B, T, 3, H, d), contiguous.
        cosines, sines: (T, d) of `rotations`, contiguous.
    """
    batch, frames, _, heads, width = qkv.shape
    out = qkv.new_empty(batch, frames, 2, heads, width)
    _launch(_forward, (qkv, cosines, sines, out), batch, frames, heads, width, 2 * heads)
    return out


def backward(d_q: Tensor, d_k: Tensor, d_v: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Gradient of qkv (B, T, 3, H, d).

    Args:
        d_q, d_k, d_v: gradients of turned queries and keys, and of values, (B, T, H, d),
            contiguous.
        cosines, sines: as in `forward`.
    """
    batch, frames, heads, width = d_q.shape
    d_qkv = d_q.new_empty(batch, frames, 3, heads, width)
    tensors = (d_q, d_k, d_v, cosines, sines, d_qkv)
    _launch(_backward, tensors, batch, frames, heads, width, heads)
    return d_qkv


def _launch(kernel, tensors, batch: int, frames: int, heads: int, width: int, rows: int) -> None:
    """Runs a program for each frame of each row."""
    with torch.cuda.device_of(tensors[0]):
        kernel[(batch * frames,)](
            *tensors,
            frames,
            heads,
            HALF=width // 2,
            ROWS=triton.next_power_of_2(rows),
            COLUMNS=triton.next_power_of_2(width // 2),
            num_warps=4,
        )
