"""Convolutions as products of overlapping rows against torch's."""

import pytest
import torch
import torch.nn.functional as F

from speechlm.kernels.row_convolution import RowConvolution


@pytest.mark.parametrize("kernel, stride", [(3, 2), (2, 2), (10, 5), (3, 1), (1, 4), (5, 7)])
@pytest.mark.parametrize("frames", [11, 24])
def test_equals_conv1d(kernel, stride, frames):
    torch.manual_seed(frames)
    weight = torch.randn(5, 4, kernel, dtype=torch.float64, requires_grad=True)
    x = torch.randn(frames, 4, dtype=torch.float64, requires_grad=True)
    expected = F.conv1d(x.T[None], weight, stride=stride)[0].T
    d_y = torch.randn_like(expected)
    d_x, d_weight = torch.autograd.grad(expected, (x, weight), d_y)
    ours = RowConvolution(weight.detach(), stride)

    torch.testing.assert_close(ours(x.detach(), len(d_y)), expected.detach())
    got = ours.weight_gradient(x.detach(), d_y).unflatten(1, (kernel, 4)).transpose(1, 2)
    torch.testing.assert_close(got, d_weight)
    rows = -(-frames // stride)
    padded = torch.zeros(ours.before + rows + kernel, 5, dtype=torch.float64)
    padded[ours.before : ours.before + len(d_y)] = d_y
    for phase in range(min(stride, kernel)):
        seen = d_x[phase::stride]
        torch.testing.assert_close(ours.input_gradient(padded, 0, len(seen), phase), seen)
