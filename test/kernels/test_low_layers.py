"""Layers in autocast's type throughout, beside layers under autocast."""

import pytest
import torch
from torch import nn

from speechlm import kernels
from speechlm.kernels.low_layers import low_layer
from speechlm.models import SpeechLM, SpeechLMConfig

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
