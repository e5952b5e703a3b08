"""Convolution over time with long kernels in a quarter of the products or less.

B batch, T frames, C input and O output channels, K taps; the time axis is cut into tiles of M
outputs, which see N = M + K - 1 inputs; R products a tile (47 for 24 outputs of 9 taps, where
the definition needs 216). `grouped_convolution` is the same for training, with one spectrum a step.

A correlation is a product of discrete Fourier transforms: y = G [(F x) . W], with F (R, N) the
transform, W (R, C, O) that of the kernel, and G (M, R) its inverse. A complex product is done by
three real ones, whose sums are part of F and G (Gauss; compare Winograd 1980).
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TiledConvolution(nn.Module):
    """What a Conv1d of odd kernel, stride 1, that keeps the length, computes; (B, T, C) layout."""

    transform: Tensor
    spectrum: Tensor
    inverse: Tensor
    bias: Tensor

    def __init__(self, convolution: nn.Conv1d, dtype: torch.dtype):
        super().__init__()
        assert convolution.bias is not None
        weight = convolution.weight.detach().double()  # (O, C, K)
        self.kernel = weight.shape[2]
        # N: longer tiles take fewer products an output, and more for their transforms.
        inputs = max(8, 4 * (self.kernel - 1))
        self.outputs = inputs - self.kernel + 1
        transform, of_kernel, inverse = _matrices(inputs, weight.device)
        # W (R, C, O), once for all
        spectrum = torch.einsum("rk,ock->rco", of_kernel[:, : self.kernel], weight)
        self.register_buffer("transform", transform.to(dtype))
        self.register_buffer("spectrum", spectrum.to(dtype).contiguous())
        self.register_buffer("inverse", inverse[: self.outputs].to(dtype).contiguous())
        self.register_buffer("bias", convolution.bias.detach().to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, O)."""
        batch, frames, channels = x.shape
        tiles = -(-frames // self.outputs)
        left = self.kernel // 2
        right = tiles * self.outputs + self.kernel - 1 - left - frames
        padded = F.pad(x, (0, 0, left, right))
        # Tiles of N frames, M frames apart, that overlap by K - 1: (N, B, tiles, C), a view; time
        # goes first, so that the transforms are one product over all tiles and channels.
        size = self.transform.shape[1]
        cut = padded.as_strided(
            (size, batch, tiles, channels), (channels, padded.stride(0), self.outputs * channels, 1)
        )
        spectra = self.transform @ cut.reshape(size, -1)  # F x: (R, B tiles C)
        products = spectra.view(len(spectra), -1, channels) @ self.spectrum  # (R, B tiles, O)
        y = self.inverse @ products.flatten(1)  # G [..]: (M, B tiles O)
        y = y.view(self.outputs, batch, tiles, -1).permute(1, 2, 0, 3)
        return y.reshape(batch, tiles * self.outputs, -1)[:, :frames] + self.bias


def grouped_convolution(x: Tensor, weight: Tensor, scale: Tensor, groups: int) -> Tensor:
    """Correlation over time with `weight * scale`, float32 at least, each group on its own.

    Args:
        x: (B, T, C).
        weight: (O, C / groups, K).
        scale: (K,) factors of the taps.
        groups: channels are cut into so many, inputs and outputs alike.

    Returns:
        (B, T, O); output t sees inputs t - K // 2 .. t - K // 2 + K - 1, zeros outside.
    """
    batch, frames, channels = x.shape
    kernel = weight.shape[2]
    size = max(4, 2 * kernel)  # N
    step = size - kernel + 1  # M outputs a tile
    transform, of_kernel, inverse = (m.to(x.dtype) for m in _matrices(size, x.device))
    tiles = -(-frames // step)
    left = kernel // 2
    padded = F.pad(x, (0, 0, left, tiles * step + kernel - 1 - left - frames))
    cut = padded.unfold(1, size, step)  # (B, tiles, C, N)
    cut = cut.permute(3, 0, 1, 2).reshape(size, -1)
    # F x: (R, B tiles, groups, C / groups)
    spectra = (transform @ cut).view(-1, batch * tiles, groups, channels // groups)
    # The taps' factors go into the transform of the kernel, (R, K) * (K,): the kernel itself, the
    # largest weight here, is read once. W: (R, groups, O / groups, C / groups)
    spectrum = (of_kernel[:, :kernel] * scale) @ weight.flatten(0, 1).T
    spectrum = spectrum.view(len(of_kernel), groups, -1, channels // groups)
    # (F x) . W, for each frequency and group: (R, groups, B tiles, O / groups)
    products = spectra.transpose(1, 2) @ spectrum.transpose(2, 3)
    y = inverse[:step] @ products.flatten(1)
    y = y.view(step, groups, batch, tiles, -1).permute(2, 3, 0, 1, 4)
    return y.reshape(batch, tiles * step, -1)[:, :frames]


@functools.lru_cache(maxsize=8)
def _matrices(size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(R, N) transform of inputs, (R, N) of kernels, (N, R) back, float64, R = 3 N / 2 - 1."""
    # Of a real signal x the transform X_f = sum_t x_t (cos - i sin)(2 pi f t / N) is real at f = 0
    # and N / 2, and complex, each with a conjugate twin, at the N / 2 - 1 frequencies between them.
    # There X K* (K* conjugated: a correlation) takes three real products of
    #     Xc = sum x cos, Xs = sum x sin, Xc + Xs   with   Kc, Ks, Ks - Kc:
    #     p = Xc Kc, q = Xs Ks, r = (Xc + Xs) (Ks - Kc) = Xc Ks - Xs Kc - p + q,
    #     real part p + q, imaginary part Xc Ks - Xs Kc = r + p - q,
    # and y_t = sum_f (2 / N) [real cos - imaginary sin]
    #         = sum_f (2 / N) [p (cos - sin) + q (cos + sin) - r sin].
    time = torch.arange(size, dtype=torch.float64, device=device)
    angle = 2.0 * math.pi / size * time[1 : size // 2, None] * time
    cos, sin = angle.cos(), angle.sin()
    edges = torch.stack([torch.ones_like(time), (math.pi * time).cos()])
    inputs = torch.cat([edges, cos, sin, cos + sin])
    kernels = torch.cat([edges, cos, sin, sin - cos])
    back = torch.cat([edges, 2 * (cos - sin), 2 * (cos + sin), -2 * sin]) / size
    return inputs, kernels, back.T
