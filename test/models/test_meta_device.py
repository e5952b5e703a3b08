"""A whole training step on the meta device, where every branch for GPUs runs, without any numbers.

What it shows: operations meet tensors of one device, types and shapes fit, all of the model gets a
gradient, and attention's bias lies as the GPU kernels demand. What it cannot: that results are
right (test/golden on the plain path does) or fast.
"""

import contextlib

import pytest
import torch
import torch.nn.functional as F

from speechlm.models import SpeechLM, SpeechLMConfig, losses, relative_attention, rotary, speechlm

N_UNITS, N_CHARACTERS = 369, 33
SAMPLES = 400 + 320 * 103
"""Of an utterance: 104 frames, a multiple of 8, and (at 50 Hz) as many labels; 52 of 40 ms."""
FAST_SIZES = ["fast_base", "fast_large"]


@pytest.fixture
def meta(monkeypatch):
    """What the meta device lacks: autocast, and operations whose result's size is in the data."""
    enabled, autocast = torch.is_autocast_enabled, torch.autocast

    def is_enabled(device):
        return device != "meta" and enabled(device)

    def switch(device, **options):
        return contextlib.nullcontext() if device == "meta" else autocast(device, **options)

    def nonzero(scored):
        return torch.empty(scored.numel() // 2, dtype=torch.int64, device=scored.device)

    def ctc(log_probs, *_, **__):
        return log_probs.sum()

    monkeypatch.setattr(torch, "is_autocast_enabled", is_enabled)
    monkeypatch.setattr(torch, "autocast", switch)
    monkeypatch.setattr(speechlm, "indices", nonzero)
    monkeypatch.setattr(losses.F, "ctc_loss", ctc)


@pytest.fixture
def biases(monkeypatch):
    """The attention biases that reach torch's kernel."""
    seen, attention = [], F.scaled_dot_product_attention

    def spy(query, key, value, bias, *args, **kwargs):
        seen.append(bias)
        return attention(query, key, value, bias, *args, **kwargs)

    for module in (relative_attention, rotary):
        monkeypatch.setattr(module.F, "scaled_dot_product_attention", spy)
    return seen


def build(size, dtype):
    """A model without numbers."""
    drop = {"speech_layerdrop": 0.0, "shared_layerdrop": 0.0}
    config = getattr(SpeechLMConfig, size)(label_rate=50, **drop)
    with torch.device("meta"):
        return SpeechLM(config, N_UNITS, N_CHARACTERS).to(dtype).train()


def readable(bias):
    """Whether a GPU kernel can read this bias 16 bytes at a time.

    torch gives a view to its memory-efficient kernel as it is, unless a row or a head begins at
    other than a multiple of 8 numbers: then it makes an aligned copy.
    """
    *outer, last = bias.stride()
    assert last == 1
    copied = any(stride % 8 for stride in outer)
    return copied or bias.storage_offset() % 8 == 0


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_training_step(meta, biases, size, dtype):
    model, batch = build(size, dtype), 2
    waveforms = torch.empty(batch, SAMPLES, device="meta", dtype=dtype)
    lengths = torch.empty(batch, device="meta", dtype=torch.int64)
    labels = torch.empty(batch, 104, device="meta", dtype=torch.int64)
    units = torch.empty(batch, 90, device="meta", dtype=torch.int64)
    characters = torch.empty(batch, 20, device="meta", dtype=torch.int64)
    loss, stats, weight = model(waveforms, lengths, labels, units, characters)
    loss.backward()

    assert loss.device.type == weight.device.type == "meta" and loss.shape == ()
    assert {value.device.type for value in stats.values()} == {"meta"}
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    layers = model.config.speech_layers + 2 * model.config.shared_layers
    assert len(biases) == layers and all(map(readable, biases))


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.parametrize("padded", [False, True])
def test_fine_tuning(meta, biases, size, padded):
    model = build(size, torch.bfloat16)
    waveforms = torch.empty(2, SAMPLES, device="meta", dtype=torch.bfloat16)
    lengths = torch.empty(2, device="meta", dtype=torch.int64) if padded else None
    model.ctc_logits(model.encode(waveforms, lengths)).sum().backward()
    heads = ("final_proj_list", "label_embs_list", "unit_embed_tokens", "mask_emb")
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert all(name.startswith(heads) for name in without)
    assert len(biases) == len(model.encoder.layers) + len(model.unit_encoder.layers)
    assert all(map(readable, biases))


@pytest.mark.parametrize("frames", [2, 8, 9, 160, 161, 336, 495, 496])
@pytest.mark.parametrize("clip", [4, 160])
def test_a_bias_without_padding_goes_into_the_kernel_without_a_copy(frames, clip):
    bias = relative_attention.relative_bias(torch.empty(2, 3, frames, 2 * clip), frames)
    assert readable(bias) and all(stride % 8 == 0 for stride in bias.stride()[:-1])


@pytest.mark.parametrize("size", FAST_SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_training_step_of_a_fast_model(meta, biases, size, dtype):
    model, batch = build(size, dtype), 2
    waveforms = torch.empty(batch, SAMPLES, device="meta")
    lengths = torch.empty(batch, device="meta", dtype=torch.int64)
    labels = torch.empty(batch, 104, device="meta", dtype=torch.int64)
    units = torch.empty(batch, 45, device="meta", dtype=torch.int64)
    characters = torch.empty(batch, 20, device="meta", dtype=torch.int64)
    loss, stats, weight = model(waveforms, lengths, labels, units, characters)
    loss.backward()

    assert loss.device.type == weight.device.type == "meta" and loss.shape == ()
    assert {value.device.type for value in stats.values()} == {"meta"}
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    # What attention is given beside its inputs is which keys are padding: no table, no bias.
    layers = model.config.speech_layers + 2 * model.config.shared_layers
    assert len(biases) == layers
    assert {(mask.dtype, tuple(mask.shape)) for mask in biases} == {
        (torch.bool, (batch, 1, 1, 51)),
        (torch.bool, (batch, 1, 1, 45)),
    }


@pytest.mark.parametrize("size", FAST_SIZES)
@pytest.mark.parametrize("padded", [False, True])
def test_fine_tuning_of_a_fast_model(meta, biases, size, padded):
    model = build(size, torch.bfloat16)
    waveforms = torch.empty(2, SAMPLES, device="meta")
    lengths = torch.empty(2, device="meta", dtype=torch.int64) if padded else None
    logits = model.ctc_logits(model.encode(waveforms, lengths))
    assert logits.shape == (2, 2 * 52, N_CHARACTERS) and logits.dtype == torch.bfloat16
    logits.sum().backward()
    heads = ("final_proj_list", "unit_embed_tokens", "mask_emb")
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == {n for n, _ in model.named_parameters() if n.startswith(heads)}
    assert len(biases) == len(model.encoder.layers) + len(model.unit_encoder.layers)
    assert all((mask is None) != padded for mask in biases)  # the fastest kernels take no mask
