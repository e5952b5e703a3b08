"""Losses of masked prediction for GPUs against their definition, on a CPU."""

import pytest
import torch
from torch import nn

from speechlm.kernels.gpu_losses import mean_square, unit_losses
from speechlm.models.losses import feature_energy, predict_units, unit_logits

FRAMES = torch.tensor([0, 3, 4, 9, 13])


def case(dtype=torch.float64):
    """States of two depths (2, 7, 6), targets, projections to 4, embeddings of 5 units."""
    torch.manual_seed(0)
    hidden = [torch.randn(2, 7, 6, dtype=dtype, requires_grad=True) for _ in range(2)]
    projections = [nn.Linear(6, 4).to(dtype) for _ in range(2)]
    embeddings = [torch.randn(5, 4, dtype=dtype, requires_grad=True) for _ in range(2)]
    return hidden, torch.tensor([1, 0, 4, 4, 2]), projections, embeddings


def definition(hidden, targets, projections, embeddings, frames=FRAMES):
    predicted = []
    for states, project, units in zip(hidden, projections, embeddings, strict=True):
        logits = unit_logits(states.flatten(0, 1)[frames], project, units, 0.1)
        predicted.append(predict_units(logits, targets))
    losses, correct = ([getattr(x, name) for x in predicted] for name in ("loss", "correct"))
    return losses, torch.stack(correct), torch.stack([x.logits for x in predicted])


def leaves(hidden, projections, embeddings):
    return [*hidden, *(p for layer in projections for p in layer.parameters()), *embeddings]


def distance(found, exact):
    return ((found.double() - exact.double()).norm() / exact.double().norm()).item()


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 2e-6), (None, 0.03)])
def test_losses_hits_scores_and_gradients(dtype, bound):
    hidden, targets, projections, embeddings = case(torch.float32)
    inputs, weights = leaves(hidden, projections, embeddings), (0.7, 0.2)
    losses, correct, logits = definition(hidden, targets, projections, embeddings)
    wanted = torch.autograd.grad(weights[0] * losses[0] + weights[1] * losses[1], inputs)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is None):
        found = unit_losses(hidden, FRAMES, targets, projections, embeddings, 0.1)
        # A backward pass within autocast is computed in the types of the forward pass, too.
        total = weights[0] * found[0][0] + weights[1] * found[0][1]
        gradients = torch.autograd.grad(total, inputs)
    assert distance(torch.stack(found[0]), torch.stack(losses)) < bound
    assert torch.equal(found[1], correct.float()) and found[1].dtype == torch.float32
    assert distance(found[2], logits) < bound and not found[2].requires_grad
    for a, b in zip(gradients, wanted, strict=True):
        assert a.dtype == torch.float32 and distance(a, b) < bound


@pytest.mark.parametrize("depth", [0, 1])
def test_one_depth_alone_may_get_a_gradient(depth):
    hidden, targets, projections, embeddings = case()
    found = unit_losses(hidden, FRAMES, targets, projections, embeddings, 0.1)
    gradients = torch.autograd.grad(found[0][depth], [hidden[0], hidden[1], embeddings[depth]])
    losses, *_ = definition(hidden, targets, projections, embeddings)
    wanted = torch.autograd.grad(losses[depth], [hidden[depth], embeddings[depth]])
    assert not gradients[1 - depth].any()
    for a, b in zip([gradients[depth], gradients[2]], wanted, strict=True):
        assert distance(a, b) < 1e-5  # the definition is in float32


def test_no_frames_give_zero_loss_and_gradients():
    hidden, _, projections, embeddings = case()
    none = torch.zeros(0, dtype=torch.long)
    losses, correct, logits = unit_losses(hidden, none, none, projections, embeddings, 0.1)
    assert losses == (0.0, 0.0) and correct.tolist() == [0, 0] and logits.shape == (2, 0, 5)
    gradients = torch.autograd.grad(losses[0], leaves(hidden, projections, embeddings))
    assert not any(gradient.any() for gradient in gradients)


def test_a_state_of_zeros_has_no_direction():
    hidden, targets, projections, embeddings = case()
    nn.init.zeros_(projections[0].bias)
    with torch.no_grad():
        hidden[0].flatten(0, 1)[3] = 0.0
    (loss, _), _, logits = unit_losses(hidden, FRAMES, targets, projections, embeddings, 0.1)
    assert not logits[0, 1].any()
    assert torch.autograd.grad(loss, projections[0].weight)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_energy_of_features(dtype, like_a_gpu):
    torch.manual_seed(0)
    x = torch.randn(3, 50, 7).to(dtype).requires_grad_()
    wanted = feature_energy(x)
    (gradient,) = torch.autograd.grad(3.0 * wanted, x)
    with like_a_gpu():
        found = feature_energy(x)
    assert found.grad_fn.name() == mean_square(x).grad_fn.name() != wanted.grad_fn.name()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted)
    (other,) = torch.autograd.grad(3.0 * found, x)
    torch.testing.assert_close(other, gradient)
