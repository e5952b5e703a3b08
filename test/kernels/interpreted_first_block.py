"""The kernels of the front end's first block against its definition, in Triton's interpreter.

test_gpu_first_block runs this file in a process of its own, as TRITON_INTERPRET=1 has to be there
when triton is imported.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from speechlm import kernels
from speechlm.kernels import gpu_first_block, triton_first_block
from speechlm.models import SpeechLMConfig
from speechlm.models.front_end import ConvolutionalFrontEnd, masked_group_norm


def test_both_files_cut_alike():
    assert (gpu_first_block.TAPS, gpu_first_block.CHUNK) == (
        triton_first_block.TAPS,
        triton_first_block.CHUNK,
    )


def definition(waveforms, lengths, convolution, norm):
    y = F.conv1d(waveforms[:, None], convolution.weight, stride=convolution.stride)
    if lengths is None:
        return F.gelu(norm(y)).mT
    return F.gelu(masked_group_norm(y, lengths.clamp(min=1), norm)).mT


def case(samples, kernel, stride, channels):
    """Waveforms (2, S) of speech's colour with an offset, the second padded; both layers."""
    torch.manual_seed(0)
    convolution = nn.Conv1d(1, channels, kernel, stride, bias=False)
    norm = nn.GroupNorm(channels, channels)
    nn.init.normal_(norm.weight, 1.0, 0.3)
    nn.init.normal_(norm.bias, 0.0, 0.3)
    waveforms = 0.01 * torch.randn(2, samples).cumsum(1) + 0.1
    waveforms[1, samples // 2 :] = 0.0
    return waveforms, convolution, norm


@pytest.mark.parametrize(
    "kernel, stride, channels, lengths",
    [(10, 5, 70, None), (10, 5, 7, [60, 40]), (4, 5, 16, [77, 0]), (15, 3, 7, None)],
)
def test_values_and_gradients(monkeypatch, lengths, kernel, stride, channels):
    # Several chunks, the last of them not full
    monkeypatch.setattr(gpu_first_block, "CHUNK", 64)
    monkeypatch.setattr(triton_first_block, "CHUNK", 64)
    waveforms, convolution, norm = case(500, kernel, stride, channels)
    counts = None if lengths is None else torch.tensor(lengths)
    weights = [convolution.weight, norm.weight, norm.bias]
    found = gpu_first_block.first_block(waveforms, counts, convolution, norm, torch.float32)
    wide = copy.deepcopy(convolution).double(), copy.deepcopy(norm).double()
    exact = definition(waveforms.double(), counts, *wide)
    assert (found - exact).abs().max() < (2e-5 if lengths is None else 2e-4)
    torch.manual_seed(1)
    weight = torch.randn(exact.shape)
    gradients = torch.autograd.grad((found * weight).sum(), weights)
    wanted = torch.autograd.grad(
        (exact * weight).sum(), [*wide[0].parameters(), *wide[1].parameters()]
    )
    for a, b in zip(gradients, wanted, strict=True):
        assert (a - b).norm() < (1e-4 if lengths is None else 2e-3) * b.norm()


def test_the_front_end_takes_it(monkeypatch):
    config = SpeechLMConfig.base(conv_layers=[(16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2])
    front_end, waveforms = ConvolutionalFrontEnd(config), case(900, 10, 5, 16)[0]
    with torch.no_grad():
        expected = front_end.by_blocks(waveforms, None)
        with kernels.triton(), torch.autocast("cpu", torch.bfloat16):
            found = front_end.channels_last(waveforms, None)
    assert found.dtype == torch.bfloat16
    assert (found - expected).norm() < 0.01 * expected.norm()
