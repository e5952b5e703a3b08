"""The translation decoder: loss, steps with several hypotheses, training."""

import pytest
import torch

from speechlm.conventions import EOS, PAD
from speechlm.models.translation_decoder import TranslationDecoder, TranslationDecoderConfig

SMALL = {
    "encoder_dim": 24,
    "embed_dim": 32,
    "ffn_dim": 64,
    "layers": 2,
    "heads": 4,
    "relative_clip": 3,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "layerdrop": 0.0,
}


@pytest.fixture
def make():
    """Function: changes -> decoder over 17 tokens with fixed random weights."""

    def build(**changes):
        torch.manual_seed(3)
        return TranslationDecoder(TranslationDecoderConfig.from_dict({**SMALL, **changes}), 17)

    return build


@pytest.fixture
def speech():
    """Features of two utterances, and their padding."""
    padding = torch.zeros(2, 11, dtype=torch.bool)
    padding[1, 7:] = True
    return torch.randn(2, 11, 24, generator=torch.Generator().manual_seed(4)), padding


TARGETS = torch.tensor([[5, 9, 12, 7, 9, 6, EOS], [8, 4, 16, EOS, PAD, PAD, PAD]])


def test_defaults_are_the_papers():
    config = TranslationDecoderConfig()
    assert (config.layers, config.embed_dim, config.ffn_dim) == (6, 768, 3072)
    assert TranslationDecoderConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"heads": 5}, "embed_dim .32. must be a multiple of heads .5."),
        ({"embed_dim": 33, "heads": 3}, "even"),
        ({"layers": 0}, "layers: expected a positive integer"),
        ({"layers": 2.0}, "layers: expected a positive integer"),
        ({"dropout": "0.1"}, "dropout: expected a number"),
        ({"layerdrop": 1.0}, r"layerdrop: expected a number in \[0, 1\)"),
        ({"layer": 2}, 'unknown model option "layer"; did you mean "layers"'),
    ],
)
def test_wrong_options(changes, message):
    with pytest.raises(ValueError, match=message):
        TranslationDecoderConfig.from_dict({**SMALL, **changes})


def test_later_tokens_and_padded_frames_have_no_influence(make, speech):
    decoder, (features, padding) = make().eval(), speech
    tokens = torch.tensor([[EOS, 5, 9, 12], [EOS, 8, 4, 16]])
    expected = decoder(features, padding, tokens)
    changed = decoder(features, padding, tokens.index_fill(1, torch.tensor([3]), 7))
    torch.testing.assert_close(changed[:, :3], expected[:, :3])
    assert not torch.allclose(changed[:, 3], expected[:, 3])
    other = features.masked_fill(padding[..., None], 100.0)
    torch.testing.assert_close(decoder(other, padding, tokens), expected)
    alone = decoder(features[1:, :7], None, tokens[1:])
    torch.testing.assert_close(alone[0], expected[1], rtol=1e-4, atol=1e-5)


def test_steps_of_reordered_hypotheses_equal_teacher_forcing(make, speech, monkeypatch):
    """Beyond the clip and the first slots, with hypotheses that split, die and are left out."""
    monkeypatch.setattr("speechlm.models.translation_decoder.FIRST_SLOTS", 2)
    decoder = make().eval()
    generator = torch.Generator().manual_seed(5)
    state = decoder.start(*speech)
    last = torch.full((2, 1), EOS)
    history = torch.zeros(2, 1, 0, dtype=torch.int64)
    rows = torch.arange(2)
    with torch.no_grad():
        for position in range(9):
            if position == 6:
                rows = torch.tensor([1])
                state, last, history = state.select(rows), last[rows], history[rows]
            history = torch.cat([history, last[..., None]], 2)
            logits, state = decoder.step(last, state)
            assert state.length == position + 1
            for hypothesis in range(logits.shape[1]):
                full = decoder(speech[0][rows], speech[1][rows], history[:, hypothesis])
                torch.testing.assert_close(logits[:, hypothesis], full[:, -1], rtol=1e-4, atol=1e-5)
            parents = torch.randint(last.shape[1], (len(rows), 3), generator=generator)
            state = state.reorder(parents)
            history = history[torch.arange(len(rows))[:, None], parents]
            last = torch.randint(4, 17, (len(rows), 3), generator=generator)


def test_overfits_a_batch_and_writes_it(make, speech):
    decoder = make(label_smoothing=0.05)
    optimizer = torch.optim.Adam(decoder.parameters(), 3e-3)
    for _ in range(80):
        loss, stats, weight = decoder.loss(*speech, TARGETS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert weight == 11
    assert stats["accuracy"] == 1.0
    assert stats["nll"] < 0.1
    decoder.eval()
    state, token, written = decoder.start(*speech), torch.full((2, 1), EOS), []
    for _ in range(7):
        logits, state = decoder.step(token, state)
        token = logits.argmax(-1)
        written.append(token[:, 0])
    written = torch.stack(written, 1)
    assert torch.equal(written[TARGETS != PAD], TARGETS[TARGETS != PAD])


def test_dropout_and_layerdrop_act_in_training_only(make, speech):
    tokens = torch.tensor([[EOS, 5], [EOS, 8]])
    plain = make().eval()(*speech, tokens)
    for option in ("dropout", "attention_dropout", "activation_dropout", "layerdrop"):
        decoder = make(**{option: 0.5})
        torch.testing.assert_close(decoder.eval()(*speech, tokens), plain)
        outputs = [decoder.train()(*speech, tokens) for _ in range(8)]
        assert any(not torch.allclose(output, plain) for output in outputs), option


def test_gradients_reach_all_but_the_unused_norms(make, speech):
    decoder = make()
    decoder.loss(*speech, TARGETS)[0].backward()
    without = [name for name, p in decoder.named_parameters() if p.grad is None]
    assert without == [f"layers.{i}.norm_k.{kind}" for i in (0, 1) for kind in ("weight", "bias")]


def test_bfloat16_autocast_is_close_to_float32(make, speech):
    decoder = make()
    expected, *_ = decoder.loss(*speech, TARGETS)
    with torch.autocast("cpu", torch.bfloat16):
        loss, *_ = decoder.loss(*speech, TARGETS)
        state = decoder.start(*speech)
        logits, state = decoder.step(torch.full((2, 1), EOS), state)
        logits, _ = decoder.step(torch.full((2, 1), 5), state)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0.0)
    full = decoder(*speech, torch.tensor([[EOS, 5], [EOS, 5]]))[:, -1]
    assert (logits[:, 0].float() - full).abs().max() < 0.05 * full.abs().max()
