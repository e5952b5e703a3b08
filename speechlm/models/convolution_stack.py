"""The front end's convolutions as matrix products on a CPU.

B batch, S samples, T frames of a layer, C channels, K taps, Z stride. Activations are kept as
(T, C). A convolution is then one product: its windows of K C numbers lie Z C numbers apart in
memory, overlap, and are never copied. So are its gradients, one product for every Zth input frame.

Layers run over chunks of frames that stay in the cache. What is kept for the backward pass are the
convolutions' outputs but the first, which is made again from the waveform; so are norms and GELUs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.models.products import compute_type, product

CHUNK = 2048
"""Output frames of a chunk."""


@dataclasses.dataclass
class _Layer:
    """One convolution with what follows it."""

    kernel: int
    stride: int
    rows: int
    """ceil(K / Z)."""
    weight: Tensor
    """(C', K C)."""
    phases: list[Tensor]
    """(C, n C') for frames 0 .. Z - 1 of a row: the weights of the n outputs that see them."""
    norm: tuple[Tensor, Tensor] | None
    """Weight and bias (C',) of the layer norm over channels before the GELU."""


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
    return _Stack.apply(waveforms, strides, dtype, first, first_bias, *parameters)


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, waveforms, strides, dtype, first, first_bias, *parameters):
        ctx.strides, ctx.dtype, ctx.n_parameters = strides, dtype, len(parameters)
        runs = [_Run(w, strides, dtype, f, b, parameters)
                for w, f, b in zip(waveforms, first, first_bias, strict=True)]  # fmt: skip
        keep = any(ctx.needs_input_grad)
        features, kept = [], []
        for run in runs:
            features.append(run.forward())
            kept += run.outputs[1:] if keep else []
            run.outputs.clear()
        ctx.save_for_backward(waveforms, first, first_bias, *parameters, *kept)
        return torch.stack(features)

    @staticmethod
    def backward(ctx, gradient):
        waveforms, first, first_bias, *rest = ctx.saved_tensors
        parameters, kept = rest[: ctx.n_parameters], rest[ctx.n_parameters :]
        depth = len(ctx.strides) - 1
        totals, firsts = [torch.zeros_like(x) for x in parameters], []
        for row, d_features in enumerate(gradient):
            run = _Run(waveforms[row], ctx.strides, ctx.dtype, first[row], first_bias[row],
                       parameters)  # fmt: skip
            run.outputs = [None, *kept[row * depth : (row + 1) * depth]]
            firsts.append(run.backward(d_features))
            for total, one in zip(totals, run.parameter_gradients(), strict=True):
                total += one
        d_first, d_bias = (torch.stack(x) for x in zip(*firsts, strict=True))
        return None, None, None, d_first, d_bias, *totals


class _Run:
    """One utterance's way through the layers.

    Attributes:
        outputs: (T, C) results of the convolutions; None for the first, which is not kept.
    """

    def __init__(self, waveform, strides, dtype, first, first_bias, parameters):
        self.dtype, self.first, self.first_bias = dtype, first, first_bias
        self.windows = waveform.unfold(0, first.shape[1], strides[0])
        weights, norms = parameters[: len(strides) - 1], parameters[len(strides) - 1 :]
        pairs = list(zip(norms[::2], norms[1::2], strict=True)) or [None] * len(strides)
        self.layers = [_layer(first[:, None], strides[0], pairs[0])]
        for weight, stride, pair in zip(weights, strides[1:], pairs[1:], strict=True):
            self.layers.append(_layer(weight.to(dtype), stride, pair))
        self.outputs: list[Tensor | None] = [None]

    def forward(self) -> Tensor:
        """Features (T, C)."""
        for index in range(1, len(self.layers)):
            self.outputs.append(self._convolve(index))
        last = len(self.layers) - 1
        return self._activate(last, self.outputs[last])

    def _frames(self, index: int) -> int:
        output = self.outputs[index]
        return len(self.windows) if output is None else len(output)

    def _output(self, index: int, start: int, stop: int) -> Tensor:
        """Frames start .. stop of a convolution's result."""
        output = self.outputs[index]
        if output is None:
            return torch.addmm(self.first_bias, self.windows[start:stop], self.first.T)
        return output[start:stop]

    def _activate(self, index: int, x: Tensor) -> Tensor:
        """Norm and GELU after a convolution: (T, C) -> (T, C)."""
        norm = self.layers[index].norm
        if norm is not None:
            x = F.layer_norm(x.to(norm[0].dtype), x.shape[1:], *norm)
        return F.gelu(x).to(self.dtype)

    def _convolve(self, index: int) -> Tensor:
        """(T', C') of a convolution, from the one before it."""
        layer = self.layers[index]
        frames = (self._frames(index - 1) - layer.kernel) // layer.stride + 1
        result = layer.weight.new_empty(frames, len(layer.weight))
        for start, stop in _chunks(frames):
            begin, end = start * layer.stride, (stop - 1) * layer.stride + layer.kernel
            x = self._activate(index - 1, self._output(index - 1, begin, end))
            windows = _rows(x, 0, stop - start, layer.stride, layer.kernel)
            result[start:stop] = product(windows, layer.weight)
        return result

    def backward(self, d_features: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the first weight and bias; the others' are kept in the run."""
        self.d_weights = [torch.zeros_like(layer.weight, dtype=self.first.dtype)
                          for layer in self.layers[1:]]  # fmt: skip
        self.d_norms = [[torch.zeros_like(p) for p in layer.norm or ()] for layer in self.layers]
        self.d_first = torch.zeros_like(self.first)
        self.d_first_bias = torch.zeros_like(self.first_bias)
        last = len(self.layers) - 1
        d_output = self._padded(last)
        d_frames = d_output[self.layers[last].rows - 1 :][: len(d_features)]
        d_frames.copy_(self._activate_backward(last, self.outputs[last], d_features))
        for index in range(last, 0, -1):
            d_output = self._convolve_backward(index, d_output)
            self.outputs[index] = None
        return self.d_first, self.d_first_bias

    def _padded(self, index: int) -> Tensor:
        """Zeros for the gradient of a convolution's result, with rows of zeros around it.

        There are `rows - 1` before; with those after there is one for each row of the input.
        """
        layer = self.layers[index]
        inputs = -(-self._frames(index - 1) // layer.stride)
        return layer.weight.new_zeros(layer.rows - 1 + inputs, len(layer.weight))

    def _activate_backward(self, index: int, x: Tensor, d_y: Tensor) -> Tensor:
        norm = self.layers[index].norm
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

    def _convolve_backward(self, index: int, d_output: Tensor) -> Tensor | None:
        """Padded gradients of a convolution's result -> of the one before; None: was the first."""
        layer, before = self.layers[index], self._frames(index - 1)
        d_before = None if index == 1 else self._padded(index - 1)
        for start, stop in _chunks(-(-before // layer.stride)):
            begin, end = start * layer.stride, min(stop * layer.stride, before)
            output = self._output(index - 1, begin, end)
            x = self._activate(index - 1, output)
            self._weight_gradient(index, d_output, x, start, stop)
            for phase, weight in enumerate(layer.phases):
                taps = weight.shape[1] // d_output.shape[1]
                selected = slice(phase, end - begin, layer.stride)
                rows = _rows(d_output, start + layer.rows - taps, len(output[selected]), 1, taps)
                d_y = self._activate_backward(index - 1, output[selected], product(rows, weight))
                if d_before is not None:
                    offset = self.layers[index - 1].rows - 1
                    d_before[offset + begin : offset + end][selected] = d_y
                else:
                    self.d_first.addmm_(d_y.T, self.windows[begin:end][selected])
                    self.d_first_bias += d_y.sum(0)
        return d_before

    def _weight_gradient(
        self, index: int, d_output: Tensor, x: Tensor, start: int, stop: int
    ) -> None:
        """Adds what the input's rows start .. stop, x (frames, C), contribute."""
        layer, channels = self.layers[index], x.shape[1]
        d_frames = d_output[layer.rows - 1 :]
        for row in range(layer.rows):
            low, high = max(start - row, 0), min(stop - row, self._frames(index))
            if high <= low:
                continue
            taps = min(layer.stride, layer.kernel - row * layer.stride)
            inputs = _rows(x, (low + row - start) * layer.stride, high - low, layer.stride, taps)
            first = row * layer.stride * channels
            part = self.d_weights[index - 1][:, first : first + taps * channels]
            part += d_frames[low:high].T @ inputs

    def parameter_gradients(self) -> Iterator[Tensor]:
        """Of the weights (C', C, K) but the first, then of the norms."""
        for layer, d_weight in zip(self.layers[1:], self.d_weights, strict=True):
            yield d_weight.unflatten(1, (layer.kernel, -1)).transpose(1, 2)
        for d_norm in self.d_norms:
            yield from d_norm


def _layer(weight: Tensor, stride: int, norm: tuple[Tensor, Tensor] | None) -> _Layer:
    """From weights (C', C, K)."""
    outputs, _, kernel = weight.shape
    flat = weight.permute(0, 2, 1).flatten(1)
    phases = []
    for phase in range(stride):
        taps = weight[:, :, phase::stride].flip(2)  # (C', C, n)
        phases.append(taps.permute(1, 2, 0).flatten(1))
    return _Layer(kernel, stride, -(-kernel // stride), flat, phases, norm)


def _chunks(frames: int) -> Iterator[tuple[int, int]]:
    for start in range(0, frames, CHUNK):
        yield start, min(start + CHUNK, frames)


def _rows(x: Tensor, first: int, count: int, step: int, frames: int) -> Tensor:
    """Windows of so many frames of x (T, C), one every `step` frames: (count, frames C)."""
    channels = x.shape[1]
    offset = x.storage_offset() + first * channels
    return x.as_strided((count, frames * channels), (step * channels, 1), offset)
