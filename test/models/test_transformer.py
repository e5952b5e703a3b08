import pytest
import torch
import torch.nn.functional as F
from torch import nn

from speechlm.kernels.products import gelu_linear
from speechlm.models.swapping import swap_with_units
from speechlm.models.transformer import PositionalConvolution, SharedEncoder, SpeechEncoder


def shared_encoder(config):
    return SharedEncoder(config, nn.Embedding(20, config.embed_dim))


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("make", [SpeechEncoder, shared_encoder])
def test_padding_has_no_influence(small_config, make, pre_norm):
    torch.manual_seed(0)
    encoder = make(small_config(pre_norm=pre_norm)).eval()
    x = torch.randn(2, 21, 32)
    padding = torch.zeros(2, 21, dtype=torch.bool)
    padding[1, 13:] = True
    together = encoder(x, padding).last
    torch.testing.assert_close(together[0], encoder(x[:1], None).last[0])
    torch.testing.assert_close(together[1, :13], encoder(x[1:, :13], None).last[0])


def test_positions_count_valid_frames_and_stop_at_the_last_row(small_config):
    encoder = shared_encoder(small_config(max_positions=4))
    padding = torch.tensor([[False] * 7, [False] * 3 + [True] * 4])
    rows = encoder._positions(torch.zeros(2, 7, 32), padding)
    assert rows.tolist() == [[2, 3, 4, 5, 5, 5, 5], [2, 3, 4, 1, 1, 1, 1]]
    assert encoder._positions(torch.zeros(1, 7, 32), None).tolist() == rows[:1].tolist()


def test_layerdrop_skips_layers_in_training_only(small_config):
    torch.manual_seed(0)
    encoder = SpeechEncoder(small_config(speech_layers=3, speech_layerdrop=0.5, dropout=0.0))
    calls = []
    for index, layer in enumerate(encoder.layers):
        layer.register_forward_hook(lambda *args, index=index: calls.append(index))
    x = torch.randn(1, 4, 32)
    for _ in range(200):
        encoder.train()(x, None)
    assert all(60 < calls.count(index) < 140 for index in range(3))
    calls.clear()
    assert len(encoder.eval()(x, None).layers) == 3 and calls == [0, 1, 2]


def test_all_layers_dropped_passes_the_input(small_config):
    encoder = SpeechEncoder(small_config(speech_layerdrop=1.0, dropout=0.0)).train()
    output = encoder(torch.randn(1, 4, 32), None)
    assert len(output.layers) == 2 and torch.equal(output.layers[0], output.last)


@pytest.mark.parametrize("kernel", [15, 16])
def test_positional_convolution_keeps_the_length(kernel):
    position = PositionalConvolution(32, kernel, 4)
    assert position(torch.randn(2, 9, 32)).shape == (2, 9, 32)
    effective = F.normalize(position.weight_v.flatten(0, 1), dim=0) * position.weight_g.flatten()
    torch.testing.assert_close(effective, position.weight_v.flatten(0, 1))


def test_gelu_linear_has_the_plain_gradient():
    linear = nn.Linear(6, 5).double()
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    plain = linear(F.gelu(x))
    ours = gelu_linear(x, linear)
    assert torch.equal(plain, ours)
    inputs = (x, linear.weight, linear.bias)
    weight = torch.randn_like(plain)
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((plain * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_activation_dropout_is_applied(small_config):
    torch.manual_seed(0)
    config = small_config(activation_dropout=0.5, dropout=0.0, attention_dropout=0.0)
    encoder = SpeechEncoder(config).train()
    x = torch.randn(1, 6, 32)
    assert not torch.equal(encoder(x, None).last, encoder(x, None).last)
    assert torch.equal(encoder.eval()(x, None).last, encoder(x, None).last)


def test_swapping_replaces_only_the_chosen_frames():
    hidden, units = torch.zeros(1, 3, 2), torch.ones(1, 3, 2)
    swapped = torch.tensor([[True, False, True]])
    assert swap_with_units(hidden, units, swapped)[0, :, 0].tolist() == [1.0, 0.0, 1.0]
    assert not hidden.any()
