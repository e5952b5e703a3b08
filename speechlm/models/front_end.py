"""Waveform to features: the convolutional front end of wav2vec 2.0.

B batch, S samples (16 kHz), C channels, T frames (20 ms). Sub-module names are the authors' keys.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from speechlm.models.config import SpeechLMConfig


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
        x = self._convolve(x)
        if self.norm == "group":
            norm = getattr(self, "2")
            x = norm(x) if lengths is None else masked_group_norm(x, lengths, norm)
        elif self.norm == "layer":
            x = getattr(self, "2")["1"](x.transpose(1, 2)).transpose(1, 2)
        return F.gelu(x)

    def _convolve(self, x: Tensor) -> Tensor:
        conv = self.conv
        if conv.in_channels > 1:
            return conv(x)
        # For one channel torch's CPU convolution gives a transposed layout, costly to undo.
        windows = x[:, 0].unfold(-1, conv.kernel_size[0], conv.stride[0])
        return torch.bmm(
            conv.weight.transpose(0, 1).expand(len(x), -1, -1), windows.transpose(1, 2)
        )


class FrontEnd(nn.Module):
    """The stack of convolutions: waveforms (B, S) -> features (B, C, T)."""

    def __init__(self, config: SpeechLMConfig):
        super().__init__()
        self.ignore_padding = config.ignore_padding and config.conv_norm == "group"
        self.conv_layers = nn.ModuleList()
        inputs = 1
        for index, (outputs, kernel, stride) in enumerate(config.conv_layers):
            first_only = "group" if index == 0 else "none"
            norm = "layer" if config.conv_norm == "layer" else first_only
            self.conv_layers.append(ConvBlock(inputs, outputs, kernel, stride, norm))
            inputs = outputs

    def forward(self, waveforms: Tensor, sample_lengths: Tensor | None = None) -> Tensor:
        """Features of right-padded waveforms; sample_lengths (B,) are used with ignore_padding."""
        x = waveforms[:, None]
        for block in self.conv_layers:
            lengths = None
            if self.ignore_padding and block.norm == "group" and sample_lengths is not None:
                kernel, stride = block.conv.kernel_size[0], block.conv.stride[0]
                lengths = (sample_lengths - kernel) // stride + 1
            if block is self.conv_layers[0] and torch.is_grad_enabled():
                # The first block's activations are the model's largest, and cheap to make again.
                x = checkpoint(block, x, lengths, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x, lengths)
        return x


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
