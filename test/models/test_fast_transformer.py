"""Layers and encoders of SpeechLM-Fast."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from speechlm import kernels
from speechlm.models.fast_transformer import (
    DepthwiseConvolution,
    FastLayer,
    FastSharedEncoder,
    FastSpeechEncoder,
)
from speechlm.models.rotary import rotations


def shared_encoder(config):
    return FastSharedEncoder(config, nn.Embedding(20, config.embed_dim))


def randomize(module):
    """Weights that all matter: depthwise convolutions begin at zero outside of a model."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


@pytest.mark.parametrize("kernel", [1, 7])
@pytest.mark.parametrize("make", [FastSpeechEncoder, shared_encoder])
def test_padding_changes_nothing(fast_config, make, kernel):
    encoder = randomize(make(fast_config(depthwise_kernel=kernel))).double().eval()
    x = torch.randn(3, 21, 32, dtype=torch.float64)
    lengths = (21, 13, 1)
    padding = torch.arange(21) >= torch.tensor(lengths)[:, None]
    together = encoder(x, padding)
    noise = encoder(x + 100 * padding[..., None] * torch.randn_like(x), padding)
    for row, length in enumerate(lengths):
        alone = encoder(x[row : row + 1, :length], None)
        torch.testing.assert_close(together.last[row, :length], alone.last[0])
        torch.testing.assert_close(noise.last[row, :length], alone.last[0])
        for a, b in zip(together.layers, alone.layers, strict=True):
            torch.testing.assert_close(a[row, :length], b[0])


def test_positions_matter(fast_config):
    """Without positions, attention would not see in which order its frames stand."""
    encoder = randomize(FastSpeechEncoder(fast_config(depthwise_kernel=1))).eval()
    x = torch.randn(1, 9, 32)
    order = torch.tensor([0, 5, 2, 3, 4, 1, 6, 7, 8])
    assert (encoder(x[:, order], None).last - encoder(x, None).last[:, order]).abs().max() > 1e-2


def test_a_shift_of_all_frames_changes_nothing(fast_config):
    """Positions are relative: frames behind padding give what they give at the beginning."""
    encoder = randomize(FastSpeechEncoder(fast_config())).double().eval()
    x = torch.randn(1, 11, 32, dtype=torch.float64)
    late = torch.cat([torch.zeros(1, 30, 32, dtype=torch.float64), x], 1)
    padding = (torch.arange(41) < 30)[None]
    shifted = encoder(late, padding).last[:, 30:]
    torch.testing.assert_close(shifted, encoder(x, None).last, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("path", ["kernels", "plain"])
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("frames", [1, 2, 5, 30])
def test_depthwise_convolution_is_torchs(kernel, frames, path):
    torch.manual_seed(0)
    ours = randomize(DepthwiseConvolution(6, kernel)).double()
    x = torch.randn(2, frames, 6, dtype=torch.float64, requires_grad=True)
    taps = ours.weight.T[:, None]  # (C, 1, K)
    expected = F.conv1d(x.mT, taps, padding=kernel // 2, groups=6).mT
    wanted = torch.autograd.grad(expected.square().sum(), (x, ours.weight), retain_graph=True)
    with kernels.plain() if path == "plain" else nullcontext():
        torch.testing.assert_close(ours(x), expected)
        found = torch.autograd.grad(ours(x).square().sum(), (x, ours.weight))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_kernel_of_one_tap_is_no_convolution(fast_config):
    names = {name for name, _ in FastLayer(fast_config(depthwise_kernel=1)).named_parameters()}
    others = {name for name, _ in FastLayer(fast_config(depthwise_kernel=7)).named_parameters()}
    assert {name.split(".")[0] for name in others - names} == {"conv", "conv_layer_norm"}
    assert not names - others


def test_a_layer_is_its_definition(fast_config):
    config = fast_config()
    layer = randomize(FastLayer(config)).double().eval()
    x = torch.randn(2, 9, 32, dtype=torch.float64)
    turns = rotations(x, config.head_dim)
    y = x + layer.conv(layer.conv_layer_norm(x))
    y = y + layer.self_attn(layer.self_attn_layer_norm(y), turns, None)
    y = y + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(y))))
    torch.testing.assert_close(layer(x, turns, None), y)


def test_encoder_ends_in_a_norm_and_gives_every_layer(fast_config):
    encoder = randomize(FastSpeechEncoder(fast_config(speech_layers=3))).eval()
    output = encoder(torch.randn(2, 9, 32), None)
    assert len(output.layers) == 3
    torch.testing.assert_close(output.last, encoder.layer_norm(output.layers[-1]))


def test_layer_drop_skips_layers_in_training_only(fast_config):
    torch.manual_seed(0)
    encoder = FastSpeechEncoder(fast_config(speech_layers=3, speech_layerdrop=0.5))
    calls = []
    for index, layer in enumerate(encoder.layers):
        layer.register_forward_hook(lambda *args, index=index: calls.append(index))
    x = torch.randn(1, 4, 32)
    for _ in range(200):
        assert len(encoder.train()(x, None).layers) == 3
    assert all(60 < calls.count(index) < 140 for index in range(3))
    calls.clear()
    assert len(encoder.eval()(x, None).layers) == 3 and calls == [0, 1, 2]


def test_each_encoder_has_its_own_layer_drop(fast_config):
    config = fast_config(speech_layerdrop=0.0, shared_layerdrop=1.0, dropout=0.0)
    x = torch.randn(1, 4, 32)
    shared = shared_encoder(config).train()
    assert torch.equal(shared(x, None).layers[-1], x)
    assert not torch.equal(FastSpeechEncoder(config).train()(x, None).layers[-1], x)


@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "activation_dropout"])
def test_dropouts_act_in_training_only(fast_config, name):
    torch.manual_seed(0)
    without = {"dropout": 0.0, "speech_layerdrop": 0.0}
    encoder = randomize(FastSpeechEncoder(fast_config(**{**without, name: 0.5})))
    x = torch.randn(1, 9, 32)
    encoder.train()
    assert not torch.equal(encoder(x, None).last, encoder(x, None).last)
    plain = randomize(FastSpeechEncoder(fast_config(**without))).train()
    assert torch.equal(plain(x, None).last, plain(x, None).last)
    torch.testing.assert_close(encoder.eval()(x, None).last, plain.eval()(x, None).last)


@pytest.mark.parametrize("activation_dropout", [0.0, 0.2])
def test_kernels_give_what_torchs_operations_give(fast_config, activation_dropout):
    config = fast_config(dropout=0.0, activation_dropout=activation_dropout)
    encoder = randomize(FastSpeechEncoder(config)).double().train(activation_dropout == 0.0)
    x = torch.randn(2, 13, 32, dtype=torch.float64, requires_grad=True)
    padding = torch.arange(13) >= torch.tensor([13, 6])[:, None]
    inputs = (x, *encoder.parameters())
    weight = torch.randn(2, 13, 32, dtype=torch.float64).masked_fill(padding[..., None], 0.0)
    found = torch.autograd.grad((encoder(x, padding).last * weight).sum(), inputs)
    with kernels.plain():
        expected = torch.autograd.grad((encoder(x, padding).last * weight).sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_bfloat16_is_close_to_float32(fast_config):
    encoder = randomize(FastSpeechEncoder(fast_config())).eval()
    x = torch.randn(2, 200, 32)
    padding = torch.arange(200) >= torch.tensor([200, 150])[:, None]
    exact = encoder(x, padding).last
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(x, padding).last
    valid = ~padding
    assert torch.cosine_similarity(exact[valid], half[valid].float(), -1).min() > 0.99
