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
        weight = convolution.weight.detach().double()
        self.kernel = weight.shape[2]
        inputs = max(8, 4 * (self.kernel - 1))
        self.outputs = inputs - self.kernel + 1
        transform, of_kernel, inverse = _matrices(inputs, weight.device)
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
        size = self.transform.shape[1]
        cut = padded.as_strided(
            (size, batch, tiles, channels), (channels, padded.stride(0), self.outputs * channels, 1)
        )
        spectra = self.transform @ cut.reshape(size, -1)
        products = spectra.view(len(spectra), -1, channels) @ self.spectrum
        y = self.inverse @ products.flatten(1)
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
    size = max(4, 2 * kernel)
    step = size - kernel + 1
    transform, of_kernel, inverse = (m.to(x.dtype) for m in _matrices(size, x.device))
    tiles = -(-frames // step)
    left = kernel // 2
    padded = F.pad(x, (0, 0, left, tiles * step + kernel - 1 - left - frames))
    cut = padded.unfold(1, size, step)  # (B, tiles, C, N)
    cut = cut.permute(3, 0, 1, 2).reshape(size, -1)
    spectra = (transform @ cut).view(-1, batch * tiles, groups, channels // groups)
    spectrum = (of_kernel[:, :kernel] * scale) @ weight.flatten(0, 1).T
    spectrum = spectrum.view(len(of_kernel), groups, -1, channels // groups)
    products = spectra.transpose(1, 2) @ spectrum.transpose(2, 3)
    y = inverse[:step] @ products.flatten(1)
    y = y.view(step, groups, batch, tiles, -1).permute(2, 3, 0, 1, 4)
    return y.reshape(batch, tiles * step, -1)[:, :frames]


@functools.lru_cache(maxsize=8)
def _matrices(size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(R, N) transform of inputs, (R, N) of kernels, (N, R) back, float64, R = 3 N / 2 - 1."""
    time = torch.arange(size, dtype=torch.float64, device=device)
    angle = 2.0 * math.pi / size * time[1 : size // 2, None] * time
    cos, sin = angle.cos(), angle.sin()
    edges = torch.stack([torch.ones_like(time), (math.pi * time).cos()])
    inputs = torch.cat([edges, cos, sin, cos + sin])
    kernels = torch.cat([edges, cos, sin, sin - cos])
    back = torch.cat([edges, 2 * (cos - sin), 2 * (cos + sin), -2 * sin]) / size
    return inputs, kernels, back.T
