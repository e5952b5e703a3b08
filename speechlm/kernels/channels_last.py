"""The front end's convolutions on a GPU, in the order in which everything after them is computed.

B batch, S samples, T frames of a layer, C channels, K taps, Z stride.

Activations are (B, T, C) in the type of products from the first to the last: cuDNN multiplies such
images as they lie, norms run over neighbouring numbers, and nothing is copied between layouts or
types. Group norm folds into the first convolution, whose result is the largest activation of a
model: it is written once, and read by its GELU alone. The GPU never waits for a number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.kernels.products import compute_type

CHUNK = 512
"""Windows whose covariances are summed by one block of a GPU."""
ALIGNMENT = 8
"""Tensor cores take rows of a multiple of so many numbers."""


def channels_last_stack(
    waveforms: Tensor,
    lengths: Tensor | None,
    convolutions: Sequence[nn.Conv1d],
    group: nn.GroupNorm | None,
    norms: Sequence[nn.LayerNorm],
) -> Tensor:
    """GELU(norm(convolution(.. GELU(norm(convolution(waveform)))))).

    Args:
        waveforms: (B, S); they get no gradient.
        lengths: (B,) frames of the first convolution that count in its group norm; None: all.
        convolutions: without bias and padding, the first from one channel.
        group: norm after the first convolution, one group a channel; None: none.
        norms: over channels, one for each convolution; empty: none.

    Returns:
        (B, T, C), in the type in which products of waveforms are done.
    """
    dtype = compute_type(waveforms)
    with torch.autocast(waveforms.device.type, enabled=False):
        x = first_convolution(waveforms.detach(), lengths, convolutions[0], group, dtype)
        for index, convolution in enumerate(convolutions):
            if index > 0:
                x = convolve(x, convolution)
            if norms:
                norm = norms[index]
                weight, bias = norm.weight.to(dtype), norm.bias.to(dtype)
                x = F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)
            x = F.gelu(x)
    return x


def convolve(x: Tensor, convolution: nn.Conv1d, padding: int = 0) -> Tensor:
    """(B, T, C) -> (B, T', C'), in the type of x, by torch's convolution of images a pixel high.

    A convolution over time would copy x to (B, C, T) before and its result back behind.
    """
    images = x.mT.unsqueeze(2)  # (B, C, 1, T), of which channels lie side by side
    weight = convolution.weight.unsqueeze(2).to(x.dtype, memory_format=torch.channels_last)
    (stride,) = convolution.stride
    return F.conv2d(images, weight, stride=(1, stride), padding=(0, padding)).squeeze(2).mT


def first_convolution(
    waveforms: Tensor,
    lengths: Tensor | None,
    convolution: nn.Conv1d,
    group: nn.GroupNorm | None,
    dtype: torch.dtype,
) -> Tensor:
    """(B, S) -> (B, T, C): the convolution of one channel, with its group norm if it has one.

    A channel's mean and variance over time follow from those of the K samples under the kernel:
    with windows u (T, K) of the waveform less their mean, their covariance S (K, K), and taps w
    (K,) of a channel, the output u . w has the mean 0 and the variance w^T S w. So

        norm(u . w) = a u . w / sqrt(w^T S w + eps) + b = u . (scale w) + b.

    Neighbouring samples are much alike, which leaves little of w^T S w where w is a difference of
    them: float64, for few numbers.
    """
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    windows = waveforms.double().unfold(1, kernel, stride)  # (B, T, K), a view
    taps = convolution.weight.squeeze(1).double()  # (C, K)
    if group is None:
        return precise_product(windows, taps.expand(len(windows), -1, -1), None, dtype)
    mean, covariance = window_statistics(windows, lengths)
    # (B, C): sum over l of (sum over k of w_k S_kl) w_l
    variance = ((taps @ covariance) * taps).sum(2)
    scale = group.weight * torch.rsqrt(variance + group.eps)
    return precise_product(windows - mean, taps * scale[..., None], group.bias, dtype)


def window_statistics(windows: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Means (B, 1, K) and covariances (B, K, K) of the first lengths (B,) windows (B, T, K)."""
    batch, frames, kernel = windows.shape
    count: int | Tensor = frames
    if lengths is None:
        mean = windows.mean(1, keepdim=True)
        centred = windows - mean
    else:
        count = lengths.clamp(1, frames)[:, None, None]
        seen = torch.arange(frames, device=windows.device)[:, None] < count
        mean = (windows * seen).sum(1, keepdim=True) / count
        centred = (windows - mean) * seen
    # One block of a GPU would go through all frames of a row: chunks of them side by side.
    chunks = F.pad(centred, (0, 0, 0, -frames % CHUNK)).view(-1, CHUNK, kernel)
    sums = (chunks.mT @ chunks).view(batch, -1, kernel, kernel).sum(1)
    return mean, sums / count


def precise_product(
    windows: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """windows . weight^T + bias as one product in dtype: (B, T, K), (B, C, K), (C,) -> (B, T, C).

    Half precision alone would lose here what the norm behind would make loud again. Each factor is
    the sum of two numbers of it, u = u1 + u2 and w = w1 + w2; the bias is the weight of ones:

        u . w + b  =  [u1 u2 u1 1 1] . [w1 w1 w2 b1 b2], but for u2 . w2.

    The sums of a product are in float32, K is small: it costs nothing. Weights get their gradient
    through w1 and b1.
    """
    if bias is not None:
        ones = windows.new_ones(()).expand(*windows.shape[:2], 1)
        windows = torch.cat([windows, ones], 2)
        weight = torch.cat([weight, bias.to(weight).expand(len(weight), -1)[..., None]], 2)
    left, right = windows.to(dtype), weight.to(dtype)
    if dtype in (torch.bfloat16, torch.float16):
        # What rounding took off; ones are exact, and their second part is 0.
        left_rest = (windows - left).to(dtype)
        right_rest = (weight.detach() - right.detach()).to(dtype)
        left = torch.cat([left, left_rest, left], 2)
        right = torch.cat([right, right, right_rest], 2)
    missing = -left.shape[2] % ALIGNMENT
    return F.pad(left, (0, missing)) @ F.pad(right, (0, missing)).mT
