"""Frames that are overwritten, for GPUs, against torch's own gradients on a CPU."""

import pytest
import torch
from torch import nn

from speechlm.conventions import PAD
from speechlm.models.masked_input import mask_frames, masked_units
from speechlm.models.swapping import swap_with_targets, trained_units

MASK = torch.tensor([[True, False, False, True], [False, False, True, False]])
UNITS = torch.tensor([[4, 5, PAD, 4], [6, 5, 5, PAD]])


def both_ways(like_a_gpu, inputs, compute):
    """Result and gradients of the inputs, by the definition and as on a GPU; other kernels run."""
    results = []
    for context in (torch.enable_grad(), like_a_gpu()):
        with context:
            y = compute()
        torch.manual_seed(1)
        gradients = torch.autograd.grad((y * torch.randn_like(y)).sum(), inputs)
        results.append((y, *gradients))
    assert results[0][0].grad_fn.name() != results[1][0].grad_fn.name()
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain)


def test_masked_frames(like_a_gpu):
    torch.manual_seed(0)
    x, value = torch.randn(2, 4, 3, requires_grad=True), torch.randn(3, requires_grad=True)
    both_ways(like_a_gpu, [x, value], lambda: mask_frames(x, MASK, value))


@pytest.mark.parametrize("n_units", [7, 8])  # with and without room for columns beside them
def test_masked_units(like_a_gpu, n_units):
    """Masked or not, a unit that is none learns nothing."""
    embed, value = nn.Embedding(n_units, 3, padding_idx=PAD), torch.randn(3, requires_grad=True)
    inputs = [embed.weight, value]
    both_ways(like_a_gpu, inputs, lambda: masked_units(UNITS, MASK, embed, value))


def test_swapped_frames(like_a_gpu):
    torch.manual_seed(0)
    embed, hidden = nn.Embedding(7, 3, padding_idx=PAD), torch.randn(2, 4, 3, requires_grad=True)
    swapped = ~MASK
    trained = trained_units(UNITS, swapped, 7)
    assert trained.tolist() == [[7, 5, 7, 7], [6, 5, 7, 7]]
    both_ways(
        like_a_gpu,
        [hidden, embed.weight],
        lambda: swap_with_targets(hidden, embed, UNITS, swapped, trained),
    )


def test_types_are_those_of_autocast(like_a_gpu):
    embed, value = nn.Embedding(7, 3), torch.randn(3, requires_grad=True)
    with like_a_gpu(), torch.autocast("cpu", torch.bfloat16):
        x = masked_units(UNITS, MASK, embed, value)
        gradients = torch.autograd.grad(x.sum(), [embed.weight, value])
    assert x.dtype == torch.bfloat16 and {g.dtype for g in gradients} == {torch.float32}
