"""The tiled convolution against torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from speechlm.kernels.tiled_convolution import TiledConvolution, grouped_convolution


@pytest.mark.parametrize("kernel", [1, 3, 9, 15])
@pytest.mark.parametrize("frames", [1, 7, 24, 25, 100])
def test_equals_conv1d(kernel, frames):
    torch.manual_seed(kernel * frames)
    convolution = nn.Conv1d(6, 10, kernel, padding=kernel // 2)
    x = torch.randn(3, frames, 6)
    expected = convolution(x.transpose(1, 2)).transpose(1, 2)
    got = TiledConvolution(convolution, torch.float32)(x)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=3e-6)
    half = TiledConvolution(convolution, torch.bfloat16)(x.bfloat16()).float()
    assert (half - expected).abs().mean() < 0.02 * expected.abs().mean()


def test_takes_a_quarter_of_the_products():
    tiled = TiledConvolution(nn.Conv1d(2, 2, 9, padding=4), torch.float32)
    assert len(tiled.spectrum) * 4 < tiled.outputs * 9


@pytest.mark.parametrize("frames, kernel", [(1, 16), (40, 15), (301, 128)])
def test_grouped_convolution_equals_conv1d(frames, kernel):
    torch.manual_seed(0)
    x = torch.randn(2, frames, 12, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(12, 4, kernel, dtype=torch.float64, requires_grad=True)
    scale = torch.rand(kernel, dtype=torch.float64, requires_grad=True)
    ours = grouped_convolution(x, weight, scale, groups=3)
    plain = F.conv1d(x.transpose(1, 2), weight * scale, padding=kernel // 2, groups=3)
    plain = plain[..., :frames].transpose(1, 2)
    torch.testing.assert_close(ours, plain)
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), (x, weight, scale)),
        torch.autograd.grad(plain.square().sum(), (x, weight, scale)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
