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
from torch.autograd.function import once_differentiable

from speechlm.kernels import fast
from speechlm.kernels.gpu_first_block import first_block, takes
from speechlm.kernels.low_layers import low_layer
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
        images = images_of([convolution.weight for convolution in convolutions[1:]], dtype)
        samples, first = waveforms.detach(), convolutions[0]
        if group is not None and fast("first_block", samples) and takes(samples, first, dtype):
            x = first_block(samples, lengths, first, group, dtype)
        else:
            x = _activated(first_convolution(samples, lengths, first, group, dtype), norms[:1])
        for index, image in enumerate(images, 1):
            x = convolve(x, image, convolutions[index].stride[0])
            x = _activated(x, norms[index : index + 1])
    return x


def _activated(x: Tensor, norms: Sequence[nn.LayerNorm]) -> Tensor:
    """GELU(norm(x)), where there is a norm."""
    for norm in norms:
        x = low_layer(norm, x)
    return F.gelu(x)


def convolve(x: Tensor, images: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """(B, T, C) -> (B, T', C') by torch's convolution of images a pixel high.

    A convolution over time would copy x to (B, C, T) before and its result back behind.

    Args:
        x: (B, T, C).
        images: weight (C', C, 1, K) of `images_of`, in the type of x.
        stride: frames from one window to the next.
        padding: zeros before the first frame, and behind the last.
    """
    seen = x.mT.unsqueeze(2)  # (B, C, 1, T), of which channels lie side by side
    return F.conv2d(seen, images, stride=(1, stride), padding=(0, padding)).squeeze(2).mT


def images_of(weights: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Weights (C', C, K) in that type as (C', C, 1, K), with channels side by side in memory.

    All are cast by one kernel; those of one shape are turned by one, and so are their gradients.
    """
    return _Images.apply(dtype, *weights) if weights else ()


class _Images(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dtype: torch.dtype, *weights: Tensor):
        ctx.types = [weight.dtype for weight in weights]
        groups: dict[torch.Size, list[int]] = {}
        for index, weight in enumerate(weights):
            groups.setdefault(weight.shape, []).append(index)
        ctx.groups = list(groups.values())
        cast = _cast(weights, dtype) if {dtype} != set(ctx.types) else weights
        images: dict[int, Tensor] = {}
        for own in ctx.groups:
            turned = torch.stack([cast[index].mT for index in own])  # (n, C', K, C)
            images.update(zip(own, turned.mT.unsqueeze(3).unbind(), strict=True))
        return tuple(images[index] for index in range(len(weights)))

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor):
        results: dict[int, Tensor] = {}
        for own in ctx.groups:
            turned = torch.stack([gradients[index].squeeze(2).mT for index in own])
            wide = turned.new_empty(turned.mT.shape, dtype=ctx.types[own[0]])
            wide.copy_(turned.mT)
            results.update(zip(own, wide.unbind(), strict=True))
        return None, *(results[index] for index in range(len(gradients)))


def _cast(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    results = [torch.empty_like(x, dtype=dtype) for x in tensors]
    torch._foreach_copy_(results, list(tensors))
    return results


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
    them: float64, for few numbers. The mean of the samples is taken off first, what is left of the
    windows' mean m then as a part of the bias, b - (scale w) . m.
    """
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    samples = waveforms.double()
    taps = convolution.weight.squeeze(1).double().expand(len(samples), -1, -1)  # (B, C, K)
    if group is None:
        return precise_product(samples, stride, taps, None, dtype)
    samples = samples - samples.mean(1, keepdim=True)
    mean, covariance = window_statistics(samples.unfold(1, kernel, stride), lengths)
    # (B, C): sum over l of (sum over k of w_k S_kl) w_l
    variance = ((taps @ covariance) * taps).sum(2)
    scale = group.weight * torch.rsqrt(variance + group.eps)
    weight = taps * scale[..., None]
    bias = group.bias - (weight @ mean.mT).squeeze(2)
    return precise_product(samples, stride, weight, bias, dtype)


def window_statistics(windows: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Means (B, 1, K) and covariances (B, K, K) of the first lengths (B,) windows (B, T, K).

    In float64, from sums of products less the product of the means, which are small beside them.
    """
    batch, frames, kernel = windows.shape
    count: int | Tensor = frames
    if lengths is not None:
        count = lengths.clamp(1, frames)[:, None, None]
        windows = windows * (torch.arange(frames, device=windows.device)[:, None] < count)
    # One block of a GPU would go through all frames of a row: chunks of them side by side.
    chunks = F.pad(windows, (0, 0, 0, -frames % CHUNK)).view(-1, CHUNK, kernel)
    sums = (chunks.mT @ chunks).view(batch, -1, kernel, kernel).sum(1)
    mean = windows.sum(1, keepdim=True) / count
    return mean, sums / count - mean.mT * mean


def precise_product(
    samples: Tensor, stride: int, weight: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Windows u of samples . weight^T + bias as one product in dtype: (B, S) -> (B, T, C).

    Half precision alone would lose here what the norm behind would make loud again. Each factor is
    the sum of two numbers of it, u = u1 + u2 and w = w1 + w2; the bias is the weight of ones:

        u . w + b  =  [u1 u2 u1 1 1] . [w1 w1 w2 b1 b2], but for u2 . w2.

    The sums of a product are in float32, K is small: it costs nothing. Weights get their gradient
    through w1 and b1.

    Args:
        samples: (B, S), of a wider type.
        stride: samples from one window to the next.
        weight: (B, C, K).
        bias: (B, C); None: none.
        dtype: of the product.
    """
    left, right = [samples.to(dtype)], [weight.to(dtype)]
    biases = [] if bias is None else [bias.to(dtype)]
    if dtype in (torch.bfloat16, torch.float16):
        # What rounding took off
        left += [(samples - left[0]).to(dtype), left[0]]
        right += [right[0], (weight - right[0]).detach().to(dtype)]
        biases += [(bias - biases[0]).detach().to(dtype)] if bias is not None else []
    columns = len(left) * weight.shape[2] + len(biases)
    biases += [weight.new_zeros(weight.shape[:2], dtype=dtype)] * (-columns % ALIGNMENT)
    windows = [x.unfold(1, weight.shape[2], stride) for x in left]
    ones = windows[0].new_ones(()).expand(*windows[0].shape[:2], len(biases))
    return torch.cat([*windows, ones], 2) @ torch.cat([*right, torch.stack(biases, 2)], 2).mT
