"""Batches put together as one give the update that they give one after the other."""

import pytest
import torch

from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.models.masking import span_mask
from speechlm.models.outputs import SpeechDraws

ROWS, FRAMES, UNITS, CHARACTERS = 4, 49, 40, 9
OFF = ("dropout", "attention_dropout", "activation_dropout", "input_dropout", "ctc_dropout")


@pytest.fixture
def model():
    torch.manual_seed(0)
    zeros = dict.fromkeys((*OFF, "speech_layerdrop", "shared_layerdrop"), 0.0)
    return SpeechLM(SpeechLMConfig.tiny(**zeros, feature_grad_mult=1.0), 30, 33).train()


def gradients(model, batch, masks, rows: slice):
    """Gradients of a batch's loss times its masked frames, and the number of these."""
    model.zero_grad()
    speech, text, swap = (mask[rows] for mask in masks)
    waveforms, labels, units, characters = (tensor[rows] for tensor in batch)
    lengths = torch.full((len(waveforms),), waveforms.shape[1])
    output = model.forward_speech(
        waveforms, lengths, labels, draws=SpeechDraws(speech, swap, label_offset=0)
    )
    loss, _, weight = model.total_loss(output, model.forward_text(units, characters, text))
    (loss * weight).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}, weight


def test_two_batches_at_once_are_two_by_turns(model):
    torch.manual_seed(1)
    batch = (
        torch.randn(ROWS, 16000),
        torch.randint(4, 29, (ROWS, 2 * FRAMES + 1)),
        torch.randint(4, 29, (ROWS, UNITS)),
        torch.randint(4, 30, (ROWS, CHARACTERS)),
    )
    frames, units = torch.full((ROWS,), FRAMES), torch.full((ROWS,), UNITS)
    torch.manual_seed(3)
    masks = (
        span_mask(frames, FRAMES, 0.8, 10, groups=2),
        span_mask(units, UNITS, 0.8, 10, groups=2),
        torch.zeros(ROWS, FRAMES, dtype=torch.bool),
    )
    # The penalty of features and CTC are means of each batch, which N weighs: with equal N exactly
    masks[0][2:] = masks[0][:2]
    whole, n = gradients(model, batch, masks, slice(0, 4))
    first, n_first = gradients(model, batch, masks, slice(0, 2))
    second, n_second = gradients(model, batch, masks, slice(2, 4))
    assert n == n_first + n_second and n_first == n_second > 0
    assert whole.keys() == first.keys() and len(whole) > 50
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    for name, gradient in whole.items():
        apart = first[name] + second[name]
        torch.testing.assert_close(gradient, apart, rtol=1e-3, atol=1e-5 * largest, msg=name)


def test_a_model_masks_batches_apart_in_training_alone(model):
    waveforms = torch.randn(8, 16000)
    lengths, labels = torch.full((8,), 16000), torch.randint(4, 29, (8, 99))
    model.mask_groups = 4
    counts = [model.forward_speech(waveforms, lengths, labels).masked.sum(1) for _ in range(5)]
    assert all(len(part.unique()) == 1 for count in counts for part in count.tensor_split(4))
    assert any(len(count.unique()) > 1 for count in counts)
    count = model.eval().forward_speech(waveforms, lengths, labels).masked.sum(1)
    assert len(count.unique()) == 1
