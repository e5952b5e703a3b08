"""Linear layers by oneDNN, and with a GELU that is computed again, against torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from speechlm.kernels import plain
from speechlm.kernels.products import affine, gelu_linear, linear


@pytest.mark.parametrize("shape", [(5, 12), (2, 7, 12), (1, 1, 12)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer(shape, bias):
    torch.manual_seed(0)
    x, layer = torch.randn(shape, requires_grad=True), nn.Linear(12, 9, bias)
    check(lambda: linear(x, layer), lambda: layer(x), (x, *layer.parameters()))
    check(lambda: affine(x, layer.weight, None), lambda: x @ layer.weight.T, (x, layer.weight))


@pytest.mark.parametrize("frozen", ["nothing", "input", "weights"])
def test_gelu_and_linear(frozen):
    torch.manual_seed(0)
    x, layer = torch.randn(3, 8, 12), nn.Linear(12, 9)
    x.requires_grad_(frozen != "input")
    layer.requires_grad_(frozen != "weights")
    inputs = [p for p in (x, *layer.parameters()) if p.requires_grad]
    check(lambda: gelu_linear(x, layer), lambda: layer(F.gelu(x)), inputs)


def test_only_the_input_of_the_gelu_is_kept():
    x, layer = torch.randn(4, 12, requires_grad=True), nn.Linear(12, 9)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        gelu_linear(x, layer)
    assert {t.data_ptr() for t in kept} == {x.data_ptr(), layer.weight.data_ptr()}


@pytest.mark.parametrize("through", [linear, gelu_linear])
def test_autocast_computes_in_its_type(through):
    torch.manual_seed(0)
    x, layer = torch.randn(6, 12), nn.Linear(12, 9)
    exact = through(x, layer)
    with torch.autocast("cpu", torch.bfloat16):
        ours = through(x, layer)
        with plain():
            theirs = through(x, layer)
    assert ours.dtype == theirs.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), exact, atol=0.03, rtol=0.03)
    torch.testing.assert_close(ours, theirs, atol=0.01, rtol=0.02)
    ours.sum().backward()
    assert layer.weight.grad.dtype == torch.float32


def check(ours, theirs, inputs):
    """Both functions give the same, with and without the kernels, and so do their gradients."""
    expected = theirs()
    weight = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * weight).sum(), inputs)
    for kernels in ((), ("products",), ("products", "gelu")):
        with plain(*kernels) if kernels else torch.enable_grad():
            got = ours()
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
            for a, b in zip(
                torch.autograd.grad((got * weight).sum(), inputs), gradients, strict=True
            ):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
