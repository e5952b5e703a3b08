"""The front end's first convolution with its group norm and GELU on a GPU, in Triton.

B rows, S samples, T frames, C channels, K taps, Z samples from one window to the next. A window is
u = (w_Zt, .., w_Zt+K-1, 1, 0, ..), of TAPS numbers in all, so that its products with itself, summed
over time, hold how many windows there are, their sums and the sums of their products:

    M = sum_t u u^T,   n = M_KK,   mean m = M_.K / n,   covariance S = M / n - m m^T.

Of a channel with taps w, and scale g and shift b of its norm, the output before the GELU is

    y = g (u . w - m . w) r + b = u . v,   r = 1 / sqrt(w^T S w + eps),
    v = (s w_0, .., s w_K-1, b - s m . w, 0, ..),   s = g r.

Backwards, with d = dv from sum_t u dy, and h_k = d_k - d_K m_k:

    db = d_K,   ds = h . w,   dg = ds r,   dw = s h - ds g r^3 S w.

The activation, the largest of a model, is written once; what is before it is computed again in the
backward pass, from ten samples a frame. Nothing is added up by atomics, so that every run gives the
same bits. It has not run on a GPU yet.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TAPS = 16
"""Numbers of a window with its one, and zeros behind it: what a product takes at least."""
FRAMES, CHANNELS = 64, 64
"""Of a block."""
CHUNK = 1024
"""Frames that one program adds up: a multiple of FRAMES."""
WARPS = 4
"""Of a program: a guess until it has run on a GPU."""


@triton.jit
def _windows(waveforms, row, frame, frames, samples, KERNEL: tl.constexpr, STRIDE: tl.constexpr,
             COLUMNS: tl.constexpr):  # fmt: skip
    """(frames, COLUMNS) windows with their ones; zeros for frames from `frames` on."""
    column = tl.arange(0, COLUMNS)
    place = frame[:, None] * STRIDE + column[None, :]
    there = (frame < frames)[:, None]
    u = tl.load(
        waveforms + row * samples + place, mask=there & (column < KERNEL)[None, :], other=0.0
    )
    return tl.where(there & (column == KERNEL)[None, :], 1.0, u)


@triton.jit
def _moments(waveforms, counts, moments, frames, samples, chunks,
             KERNEL: tl.constexpr, STRIDE: tl.constexpr, COLUMNS: tl.constexpr,
             COUNTED: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr):  # fmt: skip
    """M of the row's first counts windows, one at least, in float64: the part of a chunk."""
    row, chunk = tl.program_id(1).to(tl.int64), tl.program_id(0)
    stop = frames
    if COUNTED:
        stop = tl.minimum(tl.maximum(tl.load(counts + row), 1), frames)
    column = tl.arange(0, COLUMNS)
    total = tl.zeros((COLUMNS, COLUMNS), tl.float64)
    for step in range(STEPS):
        frame = (chunk * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        u = _windows(waveforms, row, frame, stop, samples, KERNEL, STRIDE, COLUMNS).to(tl.float64)
        total += tl.sum(tl.trans(u)[:, None, :] * tl.trans(u)[None, :, :], 2)
    place = column[:, None] * COLUMNS + column[None, :]
    tl.store(moments + (row * chunks + chunk) * COLUMNS * COLUMNS + place, total)


@triton.jit
def _statistics(moments, row, KERNEL: tl.constexpr, COLUMNS: tl.constexpr):
    """m (COLUMNS,) and S (COLUMNS, COLUMNS) of a row; zero from K on."""
    column = tl.arange(0, COLUMNS)
    place = column[:, None] * COLUMNS + column[None, :]
    total = tl.load(moments + row * COLUMNS * COLUMNS + place)
    # Of a symmetric matrix a row and a column are the same.
    one = column == KERNEL
    count = tl.sum(tl.sum(tl.where(one[:, None] & one[None, :], total, 0.0), 1), 0)
    down = tl.sum(tl.where(one[None, :], total, 0.0), 1) / count
    across = tl.sum(tl.where(one[:, None], total, 0.0), 0) / count
    inside = (column < KERNEL)[:, None] & (column < KERNEL)[None, :]
    covariance = tl.where(inside, total / count - down[:, None] * across[None, :], 0.0)
    return tl.where(column < KERNEL, across, 0.0), covariance


@triton.jit
def _taps(taps, channel, channels, KERNEL: tl.constexpr, COLUMNS: tl.constexpr):
    """(channels, COLUMNS) weights in float64, zero from K on."""
    column = tl.arange(0, COLUMNS)
    mask = (channel < channels)[:, None] & (column < KERNEL)[None, :]
    w = tl.load(taps + channel[:, None] * KERNEL + column[None, :], mask=mask, other=0.0)
    return w.to(tl.float64)


@triton.jit
def _times(w, covariance, COLUMNS: tl.constexpr):
    """S w (channels, COLUMNS) in float64: a column of S after the other."""
    column = tl.arange(0, COLUMNS)
    result = tl.zeros_like(w)
    for k in tl.static_range(COLUMNS):
        part = tl.sum(tl.where((column == k)[:, None], covariance, 0.0), 0)
        weight = tl.sum(tl.where((column == k)[None, :], w, 0.0), 1)
        result += weight[:, None] * part[None, :]
    return result


@triton.jit
def _fold(moments, taps, scales, shifts, folded, channels, epsilon,
          KERNEL: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """v (C, COLUMNS) of a block of channels and a row, float32."""
    row, column = tl.program_id(1).to(tl.int64), tl.arange(0, COLUMNS)
    channel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = channel < channels
    mean, covariance = _statistics(moments, row, KERNEL, COLUMNS)
    w = _taps(taps, channel, channels, KERNEL, COLUMNS)
    variance = tl.sum(_times(w, covariance, COLUMNS) * w, 1)
    g = tl.load(scales + channel, mask=there, other=0.0).to(tl.float64)
    b = tl.load(shifts + channel, mask=there, other=0.0).to(tl.float64)
    s = g / tl.sqrt(variance + epsilon)
    bias = b - s * tl.sum(w * mean[None, :], 1)
    v = tl.where((column == KERNEL)[None, :], bias[:, None], s[:, None] * w)
    place = (row * channels + channel)[:, None] * COLUMNS + column[None, :]
    tl.store(folded + place, v.to(tl.float32), mask=there[:, None])


@triton.jit
def _before_gelu(waveforms, folded, row, frame, channel, frames, samples, channels,
                 KERNEL: tl.constexpr, STRIDE: tl.constexpr, COLUMNS: tl.constexpr):  # fmt: skip
    """Windows (frames, COLUMNS) and y (frames, channels) of a block."""
    column = tl.arange(0, COLUMNS)
    u = _windows(waveforms, row, frame, frames, samples, KERNEL, STRIDE, COLUMNS)
    place = (row * channels + channel)[None, :] * COLUMNS + column[:, None]
    v = tl.load(folded + place, mask=(channel < channels)[None, :], other=0.0)
    return u, tl.dot(u, v, input_precision="tf32x3")


@triton.jit(do_not_specialize=["frames", "samples"])
def _forward(waveforms, folded, out, frames, samples, channels,
             KERNEL: tl.constexpr, STRIDE: tl.constexpr, COLUMNS: tl.constexpr,
             BLOCK: tl.constexpr, BLOCK_C: tl.constexpr):  # fmt: skip
    """GELU(y) of a block of frames and channels."""
    row = tl.program_id(2).to(tl.int64)
    frame = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    _, y = _before_gelu(
        waveforms, folded, row, frame, channel, frames, samples, channels, KERNEL, STRIDE, COLUMNS
    )
    y = 0.5 * y * (1.0 + tl.erf(y * 0.7071067811865476))
    place = (row * frames + frame)[:, None] * channels + channel[None, :]
    mask = (frame < frames)[:, None] & (channel < channels)[None, :]
    tl.store(out + place, y.to(out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["frames", "samples"])
def _backward(waveforms, folded, d_out, sums, frames, samples, channels, chunks,
              KERNEL: tl.constexpr, STRIDE: tl.constexpr, COLUMNS: tl.constexpr,
              BLOCK: tl.constexpr, BLOCK_C: tl.constexpr, STEPS: tl.constexpr):  # fmt: skip
    """dv (COLUMNS, C) of a row and a block of channels, the part of a chunk of frames."""
    row, chunk = tl.program_id(2).to(tl.int64), tl.program_id(0)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    total = tl.zeros((COLUMNS, BLOCK_C), tl.float32)
    for step in range(STEPS):
        frame = (chunk * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        u, y = _before_gelu(
            waveforms, folded, row, frame, channel,
            frames, samples, channels, KERNEL, STRIDE, COLUMNS,
        )  # fmt: skip
        place = (row * frames + frame)[:, None] * channels + channel[None, :]
        mask = (frame < frames)[:, None] & (channel < channels)[None, :]
        d_y = tl.load(d_out + place, mask=mask, other=0.0).to(tl.float32)
        # GELU'(y) = Phi(y) + y phi(y), of the normal distribution
        d_y *= (
            0.5 * (1.0 + tl.erf(y * 0.7071067811865476))
            + y * tl.exp(-0.5 * y * y) * 0.3989422804014327
        )
        total += tl.dot(tl.trans(u), d_y, input_precision="tf32x3")
    place = tl.arange(0, COLUMNS)[:, None] * channels + channel[None, :]
    start = (row * chunks + chunk) * COLUMNS * channels
    tl.store(sums + start + place, total, mask=(channel < channels)[None, :])


@triton.jit
def _fold_backward(moments, taps, scales, sums, d_taps, d_scales, d_shifts,
                   rows, channels, epsilon,
                   KERNEL: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """dw (C, K), dg and db (C,) of a block of channels, summed over all rows."""
    column = tl.arange(0, COLUMNS)
    channel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = channel < channels
    w = _taps(taps, channel, channels, KERNEL, COLUMNS)
    g = tl.load(scales + channel, mask=there, other=0.0).to(tl.float64)
    d_w = tl.zeros((BLOCK, COLUMNS), tl.float64)
    d_g = tl.zeros((BLOCK,), tl.float64)
    d_b = tl.zeros((BLOCK,), tl.float64)
    for row in range(rows):
        mean, covariance = _statistics(moments, row, KERNEL, COLUMNS)
        place = (row * COLUMNS + column)[None, :] * channels + channel[:, None]
        d_v = tl.load(sums + place, mask=there[:, None], other=0.0).to(tl.float64)
        d_bias = tl.sum(tl.where((column == KERNEL)[None, :], d_v, 0.0), 1)
        seen = _times(w, covariance, COLUMNS)  # S w
        r = 1.0 / tl.sqrt(tl.sum(seen * w, 1) + epsilon)
        h = tl.where((column < KERNEL)[None, :], d_v - d_bias[:, None] * mean[None, :], 0.0)
        d_s = tl.sum(h * w, 1)
        d_w += (g * r)[:, None] * h - (d_s * g * r * r * r)[:, None] * seen
        d_g += d_s * r
        d_b += d_bias
    place = channel[:, None] * KERNEL + column[None, :]
    mask = there[:, None] & (column < KERNEL)[None, :]
    tl.store(d_taps + place, d_w.to(d_taps.dtype.element_ty), mask=mask)
    tl.store(d_scales + channel, d_g.to(d_scales.dtype.element_ty), mask=there)
    tl.store(d_shifts + channel, d_b.to(d_shifts.dtype.element_ty), mask=there)


def moments(
    waveforms: Tensor, counts: Tensor | None, kernel: int, stride: int, chunks: int
) -> Tensor:
    """M of each row in float64, (B, chunks, TAPS, TAPS), whose sum over the chunks it is.

    Args:
        waveforms: (B, S) float32, contiguous.
        counts: (B,) windows that count in each row; None: all.
        kernel, stride: K and Z.
        chunks: parts of CHUNK frames.
    """
    batch, samples = waveforms.shape
    result = waveforms.new_empty(batch, chunks, TAPS, TAPS, dtype=torch.float64)
    frames = (samples - kernel) // stride + 1
    block = 16
    with torch.cuda.device_of(waveforms):
        _moments[(chunks, batch)](
            waveforms, counts, result, frames, samples, chunks,
            KERNEL=kernel, STRIDE=stride, COLUMNS=TAPS, COUNTED=counts is not None,
            BLOCK=block, STEPS=CHUNK // block,
            num_warps=WARPS,
        )  # fmt: skip
    return result


def fold(moments: Tensor, taps: Tensor, scales: Tensor, shifts: Tensor, epsilon: float) -> Tensor:
    """v (B, C, TAPS), float32.

    Args:
        moments: (B, TAPS, TAPS), the sums of what `moments` returned over the chunks.
        taps: w (C, K), contiguous.
        scales, shifts: g and b (C,).
        epsilon: of the norm.
    """
    batch, (channels, kernel) = len(moments), taps.shape
    result = taps.new_empty(batch, channels, TAPS, dtype=torch.float32)
    block = 16
    with torch.cuda.device_of(taps):
        _fold[(triton.cdiv(channels, block), batch)](
            moments, taps, scales, shifts, result, channels, epsilon,
            KERNEL=kernel, COLUMNS=TAPS, BLOCK=block, num_warps=WARPS,
        )  # fmt: skip
    return result


def forward(
    waveforms: Tensor, folded: Tensor, kernel: int, stride: int, dtype: torch.dtype
) -> Tensor:
    """GELU(u . v), (B, T, C) in that type.

    Args:
        waveforms: (B, S) float32, contiguous.
        folded: v (B, C, TAPS).
        kernel, stride: K and Z.
        dtype: of the result.
    """
    batch, samples = waveforms.shape
    frames, channels = (samples - kernel) // stride + 1, folded.shape[1]
    out = waveforms.new_empty(batch, frames, channels, dtype=dtype)
    grid = (triton.cdiv(frames, FRAMES), triton.cdiv(channels, CHANNELS), batch)
    with torch.cuda.device_of(waveforms):
        _forward[grid](
            waveforms, folded, out, frames, samples, channels,
            KERNEL=kernel, STRIDE=stride, COLUMNS=TAPS, BLOCK=FRAMES, BLOCK_C=CHANNELS,
            num_warps=WARPS,
        )  # fmt: skip
    return out


def backward(
    waveforms: Tensor, folded: Tensor, d_out: Tensor, kernel: int, stride: int, chunks: int
) -> Tensor:
    """dv of each chunk of frames, (B, chunks, TAPS, C) float32.

    Args:
        waveforms, folded, kernel, stride: as in `forward`.
        d_out: gradient of its result, contiguous.
        chunks: parts of CHUNK frames.
    """
    batch, frames, channels = d_out.shape
    sums = waveforms.new_empty(batch, chunks, TAPS, channels, dtype=torch.float32)
    with torch.cuda.device_of(waveforms):
        _backward[(chunks, triton.cdiv(channels, CHANNELS), batch)](
            waveforms, folded, d_out, sums, frames, waveforms.shape[1], channels, chunks,
            KERNEL=kernel, STRIDE=stride, COLUMNS=TAPS, BLOCK=FRAMES, BLOCK_C=CHANNELS,
            STEPS=CHUNK // FRAMES, num_warps=WARPS,
        )  # fmt: skip
    return sums


def fold_backward(
    moments: Tensor, taps: Tensor, scales: Tensor, epsilon: float, sums: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """dw (C, K), dg and db (C,), in their types.

    Args:
        moments, taps, scales, epsilon: as in `fold`.
        sums: (B, TAPS, C), the sums of what `backward` returned over the chunks.
    """
    channels, kernel = taps.shape
    d_taps, d_scales, d_shifts = (torch.empty_like(x) for x in (taps, scales, scales))
    block = 16
    with torch.cuda.device_of(taps):
        _fold_backward[(triton.cdiv(channels, block),)](
            moments, taps, scales, sums, d_taps, d_scales, d_shifts,
            len(moments), channels, epsilon,
            KERNEL=kernel, COLUMNS=TAPS, BLOCK=block, num_warps=WARPS,
        )  # fmt: skip
    return d_taps, d_scales, d_shifts
