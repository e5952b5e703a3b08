"""The text-to-unit model: losses, length regulation, generation, training."""

import pytest
import torch

from speechlm.conventions import EOS, PAD
from speechlm.models.text_to_unit import NO_UNIT, TextToUnit, batches_by_length
from speechlm.models.unit_generator import TextToUnitConfig, repeat_phones, to_durations

SMALL = {
    "embed_dim": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "ffn_dim": 48,
    "predictor_dim": 24,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "predictor_dropout": 0.0,
}


@pytest.fixture
def make():
    """Function: changes -> model of 12 phone ids and 10 units with fixed random weights."""

    def build(**changes):
        torch.manual_seed(6)
        return TextToUnit(TextToUnitConfig.from_dict({**SMALL, **changes}), 12, 10)

    return build


@pytest.fixture
def batch():
    """(phones, durations, units) of two sentences."""
    phones = torch.tensor([[5, 9, 4, 11, EOS], [7, 6, EOS, PAD, PAD]])
    durations = torch.tensor([[3, 0, 4, 2, 0], [1, 5, 0, 0, 0]])
    units = torch.tensor([[1, 1, 3, 9, 0, 2, 9, 4, 4], [7, 7, 1, 0, 5, 5] + [NO_UNIT] * 3])
    return phones, durations, units


def test_defaults_are_the_papers_and_its_size():
    config = TextToUnitConfig()
    assert (config.encoder_layers, config.decoder_layers, config.embed_dim) == (4, 4, 256)
    assert (config.heads, config.ffn_dim, config.ffn_kernel) == (2, 1024, 9)
    assert TextToUnitConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"heads": 3}, "must be a multiple of heads"),
        ({"embed_dim": 33, "heads": 3}, "even"),
        ({"ffn_kernel": 8}, "ffn_kernel: expected an odd number"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"ignore_padding": 1}, "ignore_padding: expected true or false"),
        ({"kernel": 9}, 'did you mean "ffn_kernel"'),
    ],
)
def test_wrong_options(changes, message):
    with pytest.raises(ValueError, match=message):
        TextToUnitConfig.from_dict({**SMALL, **changes})


def test_repeat_phones():
    x = torch.arange(1.0, 7.0).view(2, 3, 1)
    durations = torch.tensor([[2, 0, 3], [0, 1, 1]])
    expected = torch.tensor([[1.0, 1, 3, 3, 3], [5, 6, 0, 0, 0]])[..., None]
    assert torch.equal(repeat_phones(x, durations), expected)
    assert repeat_phones(x, torch.zeros_like(durations)).shape == (2, 0, 1)


def test_durations_round_half_to_even_and_are_not_negative():
    wanted = torch.tensor([-3.0, 0.4, 0.5, 1.5, 2.5, 2.6])
    assert to_durations(torch.log1p(wanted.clamp(min=-0.9))).tolist() == [0, 0, 0, 2, 2, 3]


def test_overfits_a_batch_and_generates_it(make, batch):
    model = make(label_smoothing=0.02)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(150):
        loss, stats, weight = model(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert weight == 15
    assert stats["accuracy"] == 1.0
    assert stats["duration_error"] == 0.0
    assert loss == stats["loss"] == stats["loss_units"] + stats["loss_durations"]
    phones, durations, units = batch
    generated = model.generate([phones[0], phones[1, :3]])
    assert model.training
    assert torch.equal(generated[0], units[0])
    assert torch.equal(generated[1], units[1, :6])
    assert torch.equal(model.eval().predict(phones).durations, durations)


def test_generation_does_not_depend_on_batches(make):
    model = make().eval()
    with torch.no_grad():
        model.encoder.var_adaptor.duration_predictor.proj.bias.fill_(1.2)
    generator = torch.Generator().manual_seed(7)
    sentences = [
        torch.cat([torch.randint(4, 12, (n,), generator=generator), torch.tensor([EOS])])
        for n in (3, 17, 8, 1, 30, 8, 12)
    ]
    together = model.generate(sentences)
    assert len({len(units) for units in together}) > 3
    for max_frames in (1, 40):
        small = model.generate(sentences, max_frames)
        assert all(torch.equal(a, b) for a, b in zip(together, small, strict=True))
    predicted = model.predict(sentences[1][None])
    best = predicted.logits[0, :, : model.n_units].argmax(-1)
    assert torch.equal(together[1], best)
    assert all(int(units.max()) < model.n_units for units in together)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_copy_computes_the_same(make, batch, dtype):
    model = make().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    frozen = model.freeze(dtype)
    phones, durations, _ = batch
    expected, got = model.predict(phones, durations), frozen.predict(phones, durations)
    assert got.logits.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    for name in ("logits", "log_durations"):
        error = getattr(got, name).float() - getattr(expected, name)
        assert error.abs().max() < tolerance, name
    sentences = [phones[0], phones[1, :3]]
    if dtype == torch.float32:
        for ours, plain in zip(frozen.generate(sentences), model.generate(sentences), strict=True):
            assert torch.equal(ours, plain)
    assert not any(p.requires_grad for p in frozen.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_sentence_without_units_is_empty(make):
    model = make().eval()
    with torch.no_grad():
        model.encoder.var_adaptor.duration_predictor.proj.weight.zero_()
        model.encoder.var_adaptor.duration_predictor.proj.bias.fill_(-2.0)
    sentence = torch.tensor([5, EOS])
    assert [len(units) for units in model.generate([sentence, sentence])] == [0, 0]
    assert model.generate([]) == []


def test_a_row_without_units_does_not_disturb_the_others(make, batch):
    phones, durations, _ = batch
    durations = durations.clone()
    durations[1] = 0
    model = make().eval()
    predicted = model.predict(phones, durations)
    assert predicted.logits.isfinite().all()
    alone = model.predict(phones[:1], durations[:1])
    torch.testing.assert_close(predicted.logits[0], alone.logits[0])


def test_batches_by_length():
    assert batches_by_length([3, 0, 9, 4, 2], 9) == [[2], [3, 0], [4]]
    assert batches_by_length([], 9) == []


def test_dropouts_act_in_training_only(make, batch):
    plain = make().eval().predict(*batch[:2])
    for option in ("dropout", "attention_dropout", "predictor_dropout"):
        model = make(**{option: 0.5})
        same = model.eval().predict(*batch[:2])
        torch.testing.assert_close(same.logits, plain.logits)
        other = model.train().predict(*batch[:2])
        name = "log_durations" if option == "predictor_dropout" else "logits"
        assert not torch.allclose(getattr(other, name), getattr(plain, name)), option


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p, d, u: (p, d + (p == 6), u), "row 1 .* add up to 7 units, but 6 are given"),
        (lambda p, d, u: (p, d, u[:, :8]), "row 0 .* add up to 9 units, but 8 are given"),
        (lambda p, d, u: (p, d, u + 1), "numbers 0 to 9"),
        (lambda p, d, u: (p, d[:, :4], u), r"phones' shape \(2, 5\)"),
        (lambda p, d, u: (p, d, u[:1]), "as many rows"),
    ],
)
def test_wrong_batches(make, batch, change, message):
    with pytest.raises(ValueError, match=message):
        make()(*change(*batch))


def test_bfloat16_autocast_is_close_to_float32(make, batch):
    model = make()
    expected, *_ = model(*batch)
    with torch.autocast("cpu", torch.bfloat16):
        loss, *_ = model(*batch)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0.0)
