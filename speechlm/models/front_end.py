"""Waveform to features: what every front end gives, and the convolutions of wav2vec 2.0.

B batch, S samples (16 kHz), C channels, T frames. Sub-module names of the convolutional front end
are the authors' keys; its frames last 20 ms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from speechlm.conventions import Framing
from speechlm.kernels import fast
from speechlm.kernels.channels_last import channels_last_stack
from speechlm.kernels.convolution_stack import convolution_stack
from speechlm.models.config import SpeechLMConfig
from speechlm.models.inputs import to_device


class FrontEnd(nn.Module, ABC):
    """A network from waveforms to features, as SpeechLM asks for it.

    Args:
        channels: width C of the features.
        framing: which samples each frame is made of; `SpeechLMConfig.framing` must say the same.
    """

    def __init__(self, channels: int, framing: Framing):
        super().__init__()
        self.channels, self.framing = channels, framing

    @abstractmethod
    def forward(self, waveforms: Tensor, sample_lengths: Tensor | None = None) -> Tensor:
        """Waveforms (B, S), right-padded with zeros -> features (B, T, C).

        T is `framing.frames(S)`. A front end may use sample_lengths (B,), the valid samples, to
        keep padding out of its statistics; they may be on the host.
        """


class ConvBlock(nn.Module):
    """Conv1d without bias -> norm ("group", "layer", "none") -> GELU: (B, C, T) -> (B, C', T')."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, norm: str):
        super().__init__()
        self.norm = norm
        self.add_module("0", nn.Conv1d(inputs, outputs, kernel, stride=stride, bias=False))
        nn.init.kaiming_normal_(self.conv.weight)
        if norm == "group":
            self.add_module("2", nn.GroupNorm(outputs, outputs))
        elif norm == "layer":
            self.add_module("2", nn.ModuleDict({"1": nn.LayerNorm(outputs)}))

    @property
    def conv(self) -> nn.Conv1d:
        """The convolution."""
        return getattr(self, "0")

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Lengths (B,), in output frames, keep padding out of the group norm's statistics."""
        x = self.conv(x)
        if self.norm == "group":
            norm = getattr(self, "2")
            x = norm(x) if lengths is None else masked_group_norm(x, lengths, norm)
        elif self.norm == "layer":
            x = getattr(self, "2")["1"](x.transpose(1, 2)).transpose(1, 2)
        return F.gelu(x)


class ConvolutionalFrontEnd(FrontEnd):
    """The paper's stack of convolutions.

    Args:
        config: its `conv_layers`, `conv_norm` and `ignore_padding` say what is built.
    """

    def __init__(self, config: SpeechLMConfig):
        super().__init__(config.conv_layers[-1][0], config.framing)
        self.ignore_padding = config.ignore_padding and config.conv_norm == "group"
        self.conv_layers = nn.ModuleList()
        inputs = 1
        for index, (outputs, kernel, stride) in enumerate(config.conv_layers):
            first_only = "group" if index == 0 else "none"
            norm = "layer" if config.conv_norm == "layer" else first_only
            self.conv_layers.append(ConvBlock(inputs, outputs, kernel, stride, norm))
            inputs = outputs

    @property
    def blocks(self) -> list[ConvBlock]:
        """The convolutions with their norms and GELUs, in order."""
        return cast(list[ConvBlock], list(self.conv_layers))

    def forward(self, waveforms: Tensor, sample_lengths: Tensor | None = None) -> Tensor:
        """As in `FrontEnd`; sample_lengths (B,) are used with ignore_padding."""
        lengths = None
        if self.ignore_padding and sample_lengths is not None:
            conv = self.blocks[0].conv
            lengths = (sample_lengths - conv.kernel_size[0]) // conv.stride[0] + 1
            lengths = to_device(lengths, waveforms)
        if fast("front_end", waveforms) and not waveforms.requires_grad:
            return self._by_products(waveforms, lengths)
        if fast("channels_last", waveforms) and not waveforms.requires_grad:
            return self.channels_last(waveforms, lengths)
        return self.by_blocks(waveforms, lengths)

    def by_blocks(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        """The definition: block after block; lengths (B,) in frames of the first."""
        x = waveforms[:, None]
        for index, block in enumerate(self.blocks):
            if index == 0 and torch.is_grad_enabled():
                # The first block's activations are the model's largest, and cheap to make again.
                x = checkpoint(block, x, lengths, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x, lengths if index == 0 else None)
        return x.transpose(1, 2)

    def channels_last(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        """The same by the kernel for GPUs; waveforms get no gradient."""
        convolutions = [block.conv for block in self.blocks]
        return channels_last_stack(waveforms, lengths, convolutions, *self._norms())

    def _norms(self) -> tuple[nn.GroupNorm | None, list[nn.LayerNorm]]:
        """The group norm of the first block, the layer norms of all, so far as there are any."""
        norms = [getattr(block, "2")["1"] for block in self.blocks if block.norm == "layer"]
        first = self.blocks[0]
        return getattr(first, "2") if first.norm == "group" else None, norms

    def _by_products(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        """The same by the kernel for CPUs; waveforms get no gradient."""
        group, norms = self._norms()
        convolutions = [block.conv for block in self.blocks]
        first, batch = convolutions[0], waveforms.shape[0]
        if group is not None:
            weight, bias = fold_group_norm(waveforms, lengths, first, group)
        else:
            weight = first.weight[:, 0].expand(batch, -1, -1)
            bias = weight.new_zeros(batch, first.out_channels)
        return convolution_stack(waveforms, weight, bias, convolutions, norms)


def fold_group_norm(
    waveforms: Tensor, lengths: Tensor | None, convolution: nn.Conv1d, norm: nn.GroupNorm
) -> tuple[Tensor, Tensor]:
    """The first convolution and its group norm (one group a channel) as one affine map a row.

    A channel's mean and variance over time follow from those of the K samples under the kernel:
    with windows u (T, K) of the waveform, mean m (K,) and covariance S (K, K) of u, and taps w (K,)
    of a channel, the output u . w has the mean m . w and the variance w^T S w.

    Args:
        waveforms: (B, S).
        lengths: (B,) frames that count; None: all.
        convolution: 1 -> C channels.
        norm: holds weight, bias (C,) and eps.

    Returns:
        Weights (B, C, K) and biases (B, C).
    """
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    windows = waveforms.detach().double().unfold(1, kernel, stride)  # (B, T, K), a view
    means, covariances = [], []
    for row, window in enumerate(windows):
        seen = window if lengths is None else window[: max(1, int(lengths[row]))]
        means.append(seen.mean(0))
        centred = seen - means[-1]
        covariances.append(centred.T @ centred / len(seen))
    taps = convolution.weight[:, 0].double()
    # (B, C) each; norm(u . w) = a (u . w - mean) / sqrt(variance + eps) + b = u . (scale w) + bias
    mean = torch.stack(means) @ taps.T
    variance = torch.einsum("ck,bkl,cl->bc", taps, torch.stack(covariances), taps)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    weight, bias = taps * scale[..., None], norm.bias - mean * scale
    return weight.to(waveforms.dtype), bias.to(waveforms.dtype)


def masked_group_norm(x: Tensor, lengths: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Group norm, one group a channel, whose statistics see the first lengths (B,) frames only.

    Args:
        x: (B, C, T).
        lengths: (B,) valid frames.
        norm: holds weight, bias (C,) and eps.
    """
    valid = (torch.arange(x.shape[-1], device=x.device) < lengths[:, None])[:, None]
    count = lengths.clamp(min=1)[:, None, None].float()
    values = x.float()
    mean = (values * valid).sum(-1, keepdim=True) / count
    variance = ((values - mean).square() * valid).sum(-1, keepdim=True) / count
    scale = norm.weight[:, None] * torch.rsqrt(variance + norm.eps)
    return (values * scale + (norm.bias[:, None] - mean * scale)).to(x.dtype)


def normalize_waveform(waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Scales each utterance to zero mean and unit variance; padding becomes zero.

    Args:
        waveforms: (S,) or (B, S), right-padded.
        lengths: (B,) samples; None: all valid.

    Returns:
        The same shape. Done on whole utterances, before any cropping (Large models).
    """
    if lengths is None:
        return F.layer_norm(waveforms, waveforms.shape[-1:])
    valid = torch.arange(waveforms.shape[-1], device=waveforms.device) < lengths[:, None]
    count = lengths.clamp(min=1)[:, None].to(waveforms.dtype)
    centred = (waveforms - (waveforms * valid).sum(-1, keepdim=True) / count) * valid
    variance = centred.square().sum(-1, keepdim=True) / count
    return centred * torch.rsqrt(variance + 1e-5)


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """x, with its gradient multiplied by factor."""
    return x if factor == 1.0 else _ScaleGradient.apply(x, factor)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient * ctx.factor, None
