"""The front end's convolutions on a CPU, chunk by chunk.

B batch, S samples, T frames of a layer, C channels, K taps, Z stride. Layers run over chunks of
frames that stay in the cache, as the products of `row_convolution`. Outputs start .. stop of a
chunk see the inputs start Z .. (stop - 1) Z + K, so that neighbouring chunks share K - Z input
frames, whose norm and GELU are computed twice:

    inputs    |.............:...|.............:...|
    outputs   |  start .. stop  |  start .. stop  |

What is kept for the backward pass are the convolutions' outputs x_l but the first, which is made
again from the waveform; so are norms and GELUs. With y_l = GELU(norm(x_l)) and
x_(l+1) = y_l * w_(l+1) the backward pass goes, chunk by chunk,

    d_w_(l+1) += y_l^T d_x_(l+1),   d_y_l = d_x_(l+1) * flipped w_(l+1),   d_x_l from d_y_l and x_l,

so that no d_y is ever kept as a whole, and of d_x one layer and the one before.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.kernels.products import compute_type, without_autocast
from speechlm.kernels.row_convolution import RowConvolution

CHUNK = 2048
"""Output frames of a chunk."""


def convolution_stack(
    waveforms: Tensor,
    first: Tensor,
    first_bias: Tensor,
    convolutions: list[nn.Conv1d],
    norms: list[nn.LayerNorm],
) -> Tensor:
    """GELU(norm(convolution(.. GELU(norm(first(waveform)))))).

    Args:
        waveforms: (B, S); they get no gradient.
        first: (B, C, K) weights of the first convolution, one for each row of the batch.
        first_bias: (B, C).
        convolutions: all, the first for its stride only; without bias and padding.
        norms: over channels, one for each convolution; empty: none.

    Returns:
        (B, T, C).
    """
    strides = tuple(convolution.stride[0] for convolution in convolutions)
    parameters = [convolution.weight for convolution in convolutions[1:]]
    for norm in norms:
        parameters += [norm.weight, norm.bias]
    dtype = compute_type(waveforms)
    keep = torch.is_grad_enabled()
    return _Stack.apply(waveforms, strides, dtype, keep, first, first_bias, *parameters)


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, waveforms, strides, dtype, keep, first, first_bias, *parameters):
        ctx.strides, ctx.dtype, ctx.n_parameters = strides, dtype, len(parameters)
        runs = [
            _Run(w, strides, dtype, f, b, parameters)
            for w, f, b in zip(waveforms, first, first_bias, strict=True)
        ]
        features: list[Tensor] = []
        kept: list[Tensor] = []
        for run in runs:
            features.append(run.forward())
            kept += run.outputs.values() if keep else []
            run.outputs.clear()
        ctx.save_for_backward(waveforms, first, first_bias, *parameters, *kept)
        return torch.stack(features)

    @staticmethod
    @without_autocast
    def backward(ctx, gradient):
        waveforms, first, first_bias, *rest = ctx.saved_tensors
        parameters, kept = rest[: ctx.n_parameters], rest[ctx.n_parameters :]
        depth = len(ctx.strides) - 1
        totals, firsts = [torch.zeros_like(x) for x in parameters], []
        for row, d_features in enumerate(gradient):
            run = _Run(
                waveforms[row], ctx.strides, ctx.dtype, first[row], first_bias[row], parameters
            )
            run.outputs = dict(enumerate(kept[row * depth : (row + 1) * depth], 1))
            firsts.append(run.backward(d_features))
            for total, one in zip(totals, run.parameter_gradients(), strict=True):
                total += one
        d_first, d_bias = (torch.stack(x) for x in zip(*firsts, strict=True))
        return None, None, None, None, d_first, d_bias, *totals


class _Run:
    """One utterance's way through the layers.

    Attributes:
        convolutions: by number from 1; the first of the stack, 0, is a product of windows.
        outputs: (T, C) results of these convolutions; that of the first is not kept.
    """

    def __init__(self, waveform, strides, dtype, first, first_bias, parameters):
        self.dtype, self.first, self.first_bias = dtype, first, first_bias
        self.windows = waveform.unfold(0, first.shape[1], strides[0])
        weights, norms = parameters[: len(strides) - 1], parameters[len(strides) - 1 :]
        self.norms: list[tuple[Tensor, Tensor] | None] = [None] * len(strides)
        self.norms[: len(norms) // 2] = zip(norms[::2], norms[1::2], strict=True)
        self.convolutions: dict[int, RowConvolution] = {}
        for index, (weight, stride) in enumerate(zip(weights, strides[1:], strict=True), 1):
            self.convolutions[index] = RowConvolution(weight.to(dtype), stride)
        self.outputs: dict[int, Tensor] = {}

    def forward(self) -> Tensor:
        """Features (T, C)."""
        last = len(self.convolutions)
        for index in self.convolutions:
            self.outputs[index] = self._convolve(index)
        return self._activate(last, self._output(last, 0, self._frames(last)))

    def _frames(self, index: int) -> int:
        return len(self.outputs[index]) if index in self.outputs else len(self.windows)

    def _output(self, index: int, start: int, stop: int) -> Tensor:
        """Frames start .. stop of a convolution's result."""
        if index in self.outputs:
            return self.outputs[index][start:stop]
        return torch.addmm(self.first_bias, self.windows[start:stop], self.first.T)

    def _activate(self, index: int, x: Tensor) -> Tensor:
        """Norm and GELU after a convolution: (T, C) -> (T, C)."""
        norm = self.norms[index]
        if norm is not None:
            x = F.layer_norm(x.to(norm[0].dtype), x.shape[1:], *norm)
        return F.gelu(x).to(self.dtype)

    def _convolve(self, index: int) -> Tensor:
        """(T', C') of a convolution, from the one before it."""
        conv = self.convolutions[index]
        frames = (self._frames(index - 1) - conv.kernel) // conv.stride + 1
        result = conv.weight.new_empty(frames, len(conv.weight))
        for start, stop in _chunks(frames):
            # The input frames that these outputs see, the first of them at start Z.
            begin, end = start * conv.stride, (stop - 1) * conv.stride + conv.kernel
            x = self._activate(index - 1, self._output(index - 1, begin, end))
            result[start:stop] = conv(x, stop - start)
        return result

    def backward(self, d_features: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the first weight and bias; the others' are kept in the run."""
        self.d_weights = [
            torch.zeros_like(conv.weight, dtype=self.first.dtype)
            for conv in self.convolutions.values()
        ]
        self.d_norms = [[torch.zeros_like(p) for p in norm or ()] for norm in self.norms]
        self.d_first = torch.zeros_like(self.first)
        self.d_first_bias = torch.zeros_like(self.first_bias)
        last = len(self.convolutions)
        # d_x of the last convolution, behind the zeros that stand for outputs before the first
        d_output = self._padded(last)
        d_frames = d_output[self.convolutions[last].before :][: len(d_features)]
        d_frames.copy_(self._activate_backward(last, self.outputs[last], d_features))
        for index in range(last, 1, -1):
            d_before = self._padded(index - 1)
            self._convolve_backward(index, d_output, d_before)
            d_output = d_before
        self._convolve_backward(1, d_output, None)
        return self.d_first, self.d_first_bias

    def _padded(self, index: int) -> Tensor:
        """Zeros for the gradient of a convolution's result as `input_gradient` wants it."""
        conv = self.convolutions[index]
        inputs = -(-self._frames(index - 1) // conv.stride)
        return conv.weight.new_zeros(conv.before + inputs, len(conv.weight))

    def _activate_backward(self, index: int, x: Tensor, d_y: Tensor) -> Tensor:
        norm = self.norms[index]
        if norm is None:
            return torch.ops.aten.gelu_backward(d_y.to(x.dtype), x)
        shape, wide = x.shape[1:], x.to(norm[0].dtype)
        normed, mean, scale = torch.native_layer_norm(wide, shape, *norm, 1e-5)
        d_normed = torch.ops.aten.gelu_backward(d_y.to(wide.dtype), normed)
        d_x, d_weight, d_bias = torch.ops.aten.native_layer_norm_backward(
            d_normed, wide, shape, mean, scale, *norm, [True, True, True]
        )
        self.d_norms[index][0] += d_weight
        self.d_norms[index][1] += d_bias
        return d_x.to(x.dtype)

    def _convolve_backward(self, index: int, d_output: Tensor, d_before: Tensor | None) -> None:
        """Padded gradients of a convolution's result -> of the one before (None: the first)."""
        conv, before = self.convolutions[index], self._frames(index - 1)
        # Chunks of input frames here, Z of them to an output; the last output may end before them.
        for start, stop in _chunks(-(-before // conv.stride)):
            begin, end = start * conv.stride, min(stop * conv.stride, before)
            # Outputs start .. stop see the K - Z frames behind the chunk as well.
            seen = min(end + max(0, conv.kernel - conv.stride), before)
            output = self._output(index - 1, begin, seen)
            d_y = d_output[conv.before + start : conv.before + min(stop, self._frames(index))]
            # d_w += y^T d_x over the outputs that begin in this chunk
            if len(d_y):
                x = self._activate(index - 1, output)
                self.d_weights[index - 1] += conv.weight_gradient(x, d_y)
            # Frames 0, Z, 2 Z .. of the chunk are seen by the same taps, so are 1, Z + 1 .. : one
            # product for each phase. Frames beyond every kernel (Z > K) have no gradient.
            for phase in range(min(conv.stride, conv.kernel)):
                chosen = slice(phase, end - begin, conv.stride)
                x = output[chosen]
                d_x = conv.input_gradient(d_output, start, len(x), phase)
                d_x = self._activate_backward(index - 1, x, d_x)
                if d_before is not None:
                    offset = self.convolutions[index - 1].before
                    d_before[offset + begin : offset + end][chosen] = d_x
                else:  # the first convolution: d_w += d_x^T windows, d_bias += sum of d_x
                    self.d_first.addmm_(d_x.T, self.windows[begin:end][chosen])
                    self.d_first_bias += d_x.sum(0)

    def parameter_gradients(self) -> Iterator[Tensor]:
        """Of the weights (C', C, K) but the first, then of the norms."""
        for conv, d_weight in zip(self.convolutions.values(), self.d_weights, strict=True):
            yield d_weight.unflatten(1, (conv.kernel, -1)).transpose(1, 2)
        for d_norm in self.d_norms:
            yield from d_norm


def _chunks(frames: int) -> Iterator[tuple[int, int]]:
    for start in range(0, frames, CHUNK):
        yield start, min(start + CHUNK, frames)
