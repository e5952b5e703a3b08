"""Layers in autocast's type throughout, beside layers under autocast."""

import pytest
import torch
from torch import nn

from speechlm import kernels
from speechlm.kernels.cast_weights import cast_once, cast_weights
from speechlm.kernels.low_layers import low_layer
from speechlm.kernels.tap_norm import normed_taps
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.models.relative_attention import RelativeSelfAttention

SIZES = {"base": "tiny", "large": "tiny", "fast": "fast_tiny"}
OFF = {"dropout": 0.0, "attention_dropout": 0.0, "speech_layerdrop": 0.0, "shared_layerdrop": 0.0}


def build(size):
    torch.manual_seed(0)
    changes = {} if size == "fast" else {"pre_norm": size == "large"}
    changes |= {"conv_norm": "layer"} if size == "large" else {}
    config = getattr(SpeechLMConfig, SIZES[size])(
        speech_layers=3, shared_layers=3, label_rate=50, ctc_dropout=0.0, **OFF, **changes
    )
    return SpeechLM(config, 20, 12).train()


def step(model, dtype=None):
    """Loss, gradients of all parameters, and the outputs of the speech layers."""
    torch.manual_seed(2)
    waveforms, labels = torch.randn(2, 10000), torch.randint(4, 19, (2, 30))
    units, characters = torch.randint(4, 19, (2, 40)), torch.randint(4, 12, (2, 5))
    units[1, 30:] = 1
    outputs = []
    handle = model.encoder.register_forward_hook(lambda m, i, output: outputs.append(output.layers))
    model.zero_grad()
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        loss, _, _ = model(waveforms, torch.tensor([10000, 9000]), labels, units, characters)
    loss.backward()
    handle.remove()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return loss.item(), gradients, outputs[0]


def flat(gradients):
    return torch.cat([g.flatten() for g in gradients.values()])


@pytest.mark.parametrize("size", SIZES)
def test_a_step_is_as_near_to_float32_as_under_autocast(like_a_gpu, size):
    model = build(size)
    exact, exact_gradients, _ = step(model)
    with like_a_gpu():
        with kernels.plain("layers"):
            _, plain_gradients, _ = step(model, torch.bfloat16)
        loss, gradients, layers = step(model, torch.bfloat16)
    assert {x.dtype for x in layers} == {torch.bfloat16}
    assert gradients.keys() == exact_gradients.keys()
    assert all(g.dtype == torch.float32 for g in gradients.values())
    assert abs(loss - exact) < 5e-3 * exact
    norm = flat(exact_gradients).norm()
    off, plain_off = (
        (flat(g) - flat(exact_gradients)).norm() / norm for g in (gradients, plain_gradients)
    )
    assert off < max(0.05, 2.0 * plain_off)


def test_without_autocast_nothing_changes(like_a_gpu):
    model = build("base")
    with like_a_gpu():
        loss, gradients, layers = step(model)
        with kernels.plain("layers"):
            plain_loss, plain_gradients, _ = step(model)
    assert loss == plain_loss and {x.dtype for x in layers} == {torch.float32}
    assert all(torch.equal(gradients[name], plain_gradients[name]) for name in gradients)


def test_weight_norm_of_taps_and_its_gradients():
    torch.manual_seed(0)
    v = torch.randn(6, 2, 5, dtype=torch.float64, requires_grad=True)
    g = torch.rand(1, 1, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 2, 5, dtype=torch.float64)
    got = normed_taps(v, g, torch.float64)
    expected = v * g / v.norm(dim=(0, 1), keepdim=True)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(
        torch.autograd.grad((got * weight).sum(), (v, g)),
        torch.autograd.grad((expected * weight).sum(), (v, g)),
    )
    v, g = (x.detach().float().requires_grad_() for x in (v, g))
    low = normed_taps(v, g, torch.bfloat16)
    assert torch.equal(low, (v * (g[0, 0] / v.flatten(0, 1).norm(dim=0))).bfloat16())
    gradients = torch.autograd.grad((low * weight.bfloat16()).sum(), (v, g))
    assert [x.dtype for x in gradients] == [torch.float32] * 2


def test_queries_keys_and_values_are_one_product(like_a_gpu, monkeypatch):
    torch.manual_seed(0)
    layer, x = RelativeSelfAttention(32, 2, 0.0).bfloat16(), torch.randn(2, 9, 32).bfloat16()
    table = torch.randn(8, 16)
    expected = layer(x, table, None)
    products, real = [], torch.nn.functional.linear

    def spy(x, weight, bias=None):
        products.append(tuple(weight.shape))
        return real(x, weight, bias)

    monkeypatch.setattr("speechlm.kernels.products.F.linear", spy)
    with like_a_gpu():
        got = layer(x, table, None)
    assert products == [(96, 32), (32, 32)]
    torch.testing.assert_close(got, expected, atol=2e-2, rtol=2e-2)


class Twice(nn.Module):
    """A layer of which a weight is not used, and another takes no gradient."""

    def __init__(self):
        super().__init__()
        self.used, self.idle, self.fixed = (nn.Linear(4, 4) for _ in range(3))
        self.fixed.requires_grad_(False)

    def forward(self, x, factor):
        return self.used(x) + factor * self.fixed(x)


def test_weights_are_cast_and_so_are_their_gradients():
    torch.manual_seed(0)
    layer, x = Twice(), torch.randn(3, 5, 4).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = low_layer(layer, x, 0.5)
    assert y.dtype == torch.bfloat16
    (y.float() ** 2).sum().backward()
    assert layer.idle.weight.grad is None and layer.fixed.weight.grad is None
    rounded = Twice().bfloat16()
    rounded.load_state_dict(layer.state_dict())
    (rounded(x.detach(), 0.5).float() ** 2).sum().backward()
    assert torch.equal(layer.used.weight.grad, rounded.used.weight.grad.float())
    # The layer has its own weights again.
    assert layer.used.weight.dtype == torch.float32 and isinstance(layer.used.weight, nn.Parameter)


def test_one_kernel_casts_a_layer(monkeypatch):
    calls, copy = [], torch._foreach_copy_

    def spy(into, tensors):
        calls.append(len(tensors))
        return copy(into, tensors)

    monkeypatch.setattr(torch, "_foreach_copy_", spy)
    layer, x = Twice(), torch.randn(3, 5, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        low_layer(layer, x, 0.5).sum().backward()
    assert calls == [6, 2]  # weights and biases of all; gradients of those that are trained


@pytest.mark.parametrize("packed", [None, {"both.weight": ("used.weight", "idle.weight")}])
def test_two_passes_share_the_cast_and_their_gradients_are_summed(monkeypatch, packed):
    calls, copy = [], torch._foreach_copy_

    def spy(into, tensors):
        calls.append(len(tensors))
        return copy(into, tensors)

    monkeypatch.setattr(torch, "_foreach_copy_", spy)
    torch.manual_seed(0)
    layer, name = Twice(), "both.weight" if packed else "used.weight"
    with cast_once(2):
        first, second = (cast_weights(layer, torch.bfloat16, packed) for _ in range(2))
        assert first[name].data_ptr() == second[name].data_ptr()
        third = cast_weights(layer, torch.bfloat16, packed)  # more than were announced
        assert third[name].data_ptr() != first[name].data_ptr()
    assert calls == [6, 6]
    a, b = torch.randn(2, *first[name].shape).bfloat16()
    ((first[name] * a).sum() + (second[name] * b).sum() + first["used.bias"].sum()).backward()
    sums = (a + b).float().split(4)
    assert torch.equal(layer.used.weight.grad, sums[0])
    assert torch.equal(layer.used.bias.grad, torch.ones(4)) and layer.fixed.weight.grad is None
    if packed:
        assert torch.equal(layer.idle.weight.grad, sums[1])
    else:
        assert layer.idle.weight.grad is None


def test_weights_that_have_changed_are_cast_again():
    layer = Twice()
    with cast_once(2):
        cast_weights(layer, torch.bfloat16)
    with torch.no_grad():
        layer.used.weight.zero_()
    with cast_once(2):
        assert not cast_weights(layer, torch.bfloat16)["used.weight"].any()
    assert not cast_weights(layer, torch.bfloat16)["used.weight"].any()
