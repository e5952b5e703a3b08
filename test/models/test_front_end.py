import pytest
import torch
from torch import nn

from speechlm.kernels import convolution_stack
from speechlm.models.front_end import (
    ConvolutionalFrontEnd,
    masked_group_norm,
    normalize_waveform,
    scale_gradient,
)


@pytest.mark.parametrize("samples", [400, 719, 720, 16000, 11111])
def test_number_of_frames(small_config, samples):
    config = small_config()
    features = ConvolutionalFrontEnd(config)(torch.randn(2, samples))
    assert features.shape == (2, config.framing.frames(samples), 16)


def test_masked_group_norm_equals_group_norm_of_the_valid_part():
    torch.manual_seed(0)
    norm = nn.GroupNorm(6, 6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 6, 50) * 3 + 1
    got = masked_group_norm(x, torch.tensor([50, 20]), norm)
    torch.testing.assert_close(got[:1], norm(x[:1]))
    torch.testing.assert_close(got[1:, :, :20], norm(x[1:, :, :20]))


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_recomputed_block_has_the_plain_gradient(small_config, norm):
    front_end = ConvolutionalFrontEnd(small_config(conv_norm=norm)).double()
    waveforms = torch.randn(2, 4000, dtype=torch.float64)
    x = waveforms[:, None]
    for block in front_end.conv_layers:
        x = block(x)
    plain = torch.autograd.grad(x.square().sum(), list(front_end.parameters()))
    ours = torch.autograd.grad(front_end(waveforms).square().sum(), list(front_end.parameters()))
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b)


def test_normalize_waveform():
    torch.manual_seed(0)
    waveforms = torch.randn(2, 1000) * 0.1 + 0.3
    waveforms[1, 600:] = 0.0
    got = normalize_waveform(waveforms, torch.tensor([1000, 600]))
    torch.testing.assert_close(got[0], normalize_waveform(waveforms[0]))
    torch.testing.assert_close(got[1, :600], normalize_waveform(waveforms[1, :600]))
    assert not got[1, 600:].any()
    assert abs(got[0].mean()) < 1e-5 and abs(got[0].std(correction=0) - 1) < 1e-3


def test_scale_gradient():
    x = torch.randn(4, requires_grad=True)
    scale_gradient(x, 0.1).sum().backward()
    torch.testing.assert_close(x.grad, torch.full((4,), 0.1))


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize(
    "layers",
    [
        [(8, 7, 4), (8, 5, 2), (8, 2, 4), (6, 3, 1), (8, 1, 5)],
        [(8, 4, 5), (9, 3, 2), (7, 3, 2), (8, 9, 8)],
    ],
)
def test_any_kernels_and_strides_over_several_chunks(small_config, monkeypatch, norm, layers):
    """On a CPU the convolutions are products of overlapping rows; compared with conv1d."""
    monkeypatch.setattr(convolution_stack, "CHUNK", 7)
    front_end = ConvolutionalFrontEnd(small_config(conv_layers=layers, conv_norm=norm)).double()
    waveforms = torch.randn(2, 4001, dtype=torch.float64)
    ours = front_end(waveforms)
    plain = front_end(waveforms.clone().requires_grad_())
    torch.testing.assert_close(ours, plain)
    weight, parameters = torch.randn_like(plain), list(front_end.parameters())
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), parameters),
        torch.autograd.grad((plain * weight).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_folded_group_norm_leaves_padding_out(small_config):
    front_end = ConvolutionalFrontEnd(small_config(ignore_padding=True))
    waveforms, lengths = torch.randn(2, 3000), torch.tensor([3000, 1700])
    waveforms[1, 1700:] = 0.0
    ours = front_end(waveforms, lengths)
    plain = front_end(waveforms.clone().requires_grad_(), lengths)
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)
