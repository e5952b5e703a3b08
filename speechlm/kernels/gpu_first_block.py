"""The front end's first convolution with its group norm and GELU, as operations of torch on a GPU.

As torch's own operations they have shapes on the meta device. Their kernels are in
triton_first_block, which is imported when the first one runs.

B rows, S samples, T frames, C channels, K taps.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

TYPES = (torch.float32, torch.bfloat16)
TAPS, CHUNK = 16, 1024
"""As in triton_first_block, which may not be there."""

_operation = torch.library.custom_op


def takes(waveforms: Tensor, convolution: nn.Conv1d, dtype: torch.dtype) -> bool:
    """Whether the kernels can compute with these samples and taps, for a result of that type."""
    in_range = waveforms.dtype == torch.float32 and dtype in TYPES
    return in_range and convolution.kernel_size[0] < TAPS


def first_block(
    waveforms: Tensor,
    lengths: Tensor | None,
    convolution: nn.Conv1d,
    norm: nn.GroupNorm,
    dtype: torch.dtype,
) -> Tensor:
    """GELU(group norm(convolution)): (B, S) -> (B, T, C) in that type.

    Args:
        waveforms: (B, S) float32; they get no gradient.
        lengths: (B,) frames that count in the norm; None: all.
        convolution: 1 -> C channels, without bias and padding.
        norm: one group a channel.
        dtype: of the result.

    Raises:
        ValueError: Triton is not installed.
    """
    taps = convolution.weight.squeeze(1)
    stride, epsilon = convolution.stride[0], norm.eps
    return _FirstBlock.apply(
        waveforms.contiguous(), lengths, taps, norm.weight, norm.bias, stride, epsilon, dtype
    )


class _FirstBlock(torch.autograd.Function):
    @staticmethod
    def forward(ctx, waveforms, lengths, taps, scales, shifts, stride, epsilon, dtype):
        taps = taps.contiguous()
        moments = _moments(waveforms, lengths, taps.shape[1], stride).sum(1)
        folded = _fold(moments, taps, scales, shifts, epsilon)
        ctx.save_for_backward(waveforms, moments, folded, taps, scales)
        ctx.stride, ctx.epsilon = stride, epsilon
        return _forward(waveforms, folded, taps.shape[1], stride, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_y: Tensor):
        waveforms, moments, folded, taps, scales = ctx.saved_tensors
        sums = _backward(waveforms, folded, d_y.contiguous(), taps.shape[1], ctx.stride).sum(1)
        gradients = _fold_backward(moments, taps, scales, ctx.epsilon, sums)
        return None, None, *gradients, None, None, None


def _kernels() -> ModuleType:
    try:
        from speechlm.kernels import triton_first_block
    except ModuleNotFoundError as error:
        raise ValueError(
            "SPEECHLM_TRITON=1 asks for the kernels in Triton, but the package triton is not "
            "installed here; install it (pip install triton) or take SPEECHLM_TRITON away"
        ) from error
    return triton_first_block


def frames_of(samples: int, kernel: int, stride: int) -> int:
    """Windows of so many samples."""
    return (samples - kernel) // stride + 1


def _chunks(waveforms: Tensor, kernel: int, stride: int) -> int:
    return -(-frames_of(waveforms.shape[1], kernel, stride) // CHUNK)


@_operation("speechlm::first_block_moments", mutates_args=())
def _moments(waveforms: Tensor, counts: Tensor | None, kernel: int, stride: int) -> Tensor:
    """Sums of products of windows, (B, chunks, TAPS, TAPS) float64."""
    chunks = _chunks(waveforms, kernel, stride)
    return _kernels().moments(waveforms, counts, kernel, stride, chunks)


@_moments.register_fake
def _moments_shape(waveforms, counts, kernel, stride):
    chunks = _chunks(waveforms, kernel, stride)
    return waveforms.new_empty(len(waveforms), chunks, TAPS, TAPS, dtype=torch.float64)


@_operation("speechlm::first_block_fold", mutates_args=())
def _fold(moments: Tensor, taps: Tensor, scales: Tensor, shifts: Tensor, epsilon: float) -> Tensor:
    """Taps with norm and bias in them, (B, C, TAPS) float32."""
    return _kernels().fold(moments, taps, scales, shifts, epsilon)


@_fold.register_fake
def _fold_shape(moments, taps, scales, shifts, epsilon):
    return taps.new_empty(len(moments), len(taps), TAPS, dtype=torch.float32)


@_operation("speechlm::first_block", mutates_args=())
def _forward(
    waveforms: Tensor, folded: Tensor, kernel: int, stride: int, dtype: torch.dtype
) -> Tensor:
    """(B, T, C) in that type."""
    return _kernels().forward(waveforms, folded, kernel, stride, dtype)


@_forward.register_fake
def _forward_shape(waveforms, folded, kernel, stride, dtype):
    frames = frames_of(waveforms.shape[1], kernel, stride)
    return waveforms.new_empty(len(waveforms), frames, folded.shape[1], dtype=dtype)


@_operation("speechlm::first_block_backward", mutates_args=())
def _backward(waveforms: Tensor, folded: Tensor, d_out: Tensor, kernel: int, stride: int) -> Tensor:
    """Gradient of what was folded, by chunks: (B, chunks, TAPS, C) float32."""
    chunks = _chunks(waveforms, kernel, stride)
    return _kernels().backward(waveforms, folded, d_out, kernel, stride, chunks)


@_backward.register_fake
def _backward_shape(waveforms, folded, d_out, kernel, stride):
    chunks = _chunks(waveforms, kernel, stride)
    return folded.new_empty(len(waveforms), chunks, TAPS, folded.shape[1])


@_operation("speechlm::first_block_fold_backward", mutates_args=())
def _fold_backward(
    moments: Tensor, taps: Tensor, scales: Tensor, epsilon: float, sums: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of taps, scales and shifts."""
    return _kernels().fold_backward(moments, taps, scales, epsilon, sums)


@_fold_backward.register_fake
def _fold_backward_shapes(moments, taps, scales, epsilon, sums):
    return torch.empty_like(taps), torch.empty_like(scales), torch.empty_like(scales)


@register_flop_formula(torch.ops.speechlm.first_block)
def _operations(waveforms, folded, kernel, stride, *_, **__) -> int:
    batch, samples = waveforms
    return 2 * batch * frames_of(samples, kernel, stride) * folded[1] * kernel


@register_flop_formula(torch.ops.speechlm.first_block_backward)
def _operations_backwards(waveforms, folded, d_out, kernel, stride, *_, **__) -> int:
    """The product is computed again, and there is one for its gradient."""
    return 2 * _operations(waveforms, folded, kernel, stride)
