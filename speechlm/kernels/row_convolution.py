"""A convolution without padding as matrix products of overlapping rows.

C input and O output channels, K taps, Z stride. Activations are (T, C): windows of K C numbers lie
Z C numbers apart in memory, and are never copied (here K = 3, Z = 2):

    frames     | 0 | 1 | 2 | 3 | 4 | 5 | 6 |      C numbers each
    window 0   |-----------|
    window 1           |-----------|
    window 2                   |-----------|

so that the convolution is the product of a (T', K C) matrix of overlapping rows with the weights
(O, K C). The gradient of the inputs is such a product, too: frame t Z + p is seen by outputs
t, t - 1, .. through taps p, p + Z, ..: windows of ceil((K - p) / Z) rows of the outputs' gradients,
one row apart. Nothing here records gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from speechlm.kernels.products import product


class RowConvolution:
    """Weights (O, C, K) and stride Z.

    Attributes:
        before: ceil(K / Z) - 1, the rows of zeros that `input_gradient` wants first.
    """

    def __init__(self, weight: Tensor, stride: int):
        self.channels, self.kernel, self.stride = weight.shape[1], weight.shape[2], stride
        self.before = -(-self.kernel // stride) - 1
        self.weight = weight.permute(0, 2, 1).flatten(1)  # (O, K C)
        # Phase p: taps p, p + Z, .. from the last to the first, as outputs t - n + 1 .. t stand.
        phases = [weight[:, :, phase::stride].flip(2) for phase in range(stride)]
        self.phases = [taps.permute(1, 2, 0).flatten(1) for taps in phases]
        """Weights (C, n O) of the n outputs that see frames 0, Z, 2 Z ..; frames 1, Z + 1 ..; .."""

    def __call__(self, x: Tensor, count: int) -> Tensor:
        """(T, C) -> the first count outputs (count, O)."""
        return product(_windows(x, 0, count, self.stride, self.kernel), self.weight)

    def input_gradient(self, d_output: Tensor, first: int, count: int, phase: int) -> Tensor:
        """Gradient (count, C) of the input frames first * Z + phase, Z further, ...

        Args:
            d_output: (before + T', O) gradients of the outputs; zeros stand in front, and behind
                so far as input frames reach.
            first: first row of Z frames.
            count: frames wanted.
            phase: 0 .. Z - 1.
        """
        weight = self.phases[phase]
        taps = weight.shape[1] // d_output.shape[1]
        rows = _windows(d_output, first + self.before + 1 - taps, count, 1, taps)
        return product(rows, weight)

    def weight_gradient(self, x: Tensor, d_y: Tensor) -> Tensor:
        """(O, K C) from inputs x (T, C) and the gradients (count, O) of the first outputs."""
        # d_W (O, K C) = d_y^T windows. torch copies a matrix whose rows overlap before a product;
        # windows of Z taps or fewer do not overlap, so the taps go in groups of Z.
        parts = []
        for first in range(0, self.kernel, self.stride):
            taps = min(self.stride, self.kernel - first)
            parts.append(d_y.T @ _windows(x, first, len(d_y), self.stride, taps))
        return torch.cat(parts, 1)


def _windows(x: Tensor, first: int, count: int, step: int, frames: int) -> Tensor:
    """Windows of so many frames of x (T, C), one every `step` frames: (count, frames C)."""
    channels = x.shape[1]
    # Number (n, m) of the result is number (first + n step) C + m of x.
    offset = x.storage_offset() + first * channels
    return x.as_strided((count, frames * channels), (step * channels, 1), offset)
