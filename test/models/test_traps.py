"""Guards of doc/traps.md that need no reference tensors; the others are golden tests."""

import pytest
import torch

from speechlm.conventions import EOS, PAD
from speechlm.models.losses import ctc_loss
from speechlm.models.text_to_unit import TextToUnit
from speechlm.models.unit_generator import TextToUnitConfig


@pytest.fixture
def inputs_of():
    """Function: module -> list that gets the first input of each call."""

    def record(module):
        seen = []
        module.register_forward_pre_hook(lambda m, args: seen.append(args[0].detach()))
        return seen

    return record


def test_projection_exists_only_between_different_widths(small_model, batch):
    assert small_model().post_extract_proj is not None
    model = small_model(embed_dim=16).train()
    assert model.post_extract_proj is None
    assert torch.isfinite(model(**batch)[0])


def test_mask_embedding_is_written_after_dropout_and_shared_by_text(small_model, batch, inputs_of):
    model = small_model(input_dropout=0.5, dropout=0.5).train()
    speech, shared = inputs_of(model.encoder), inputs_of(model.unit_encoder)
    output = model.forward_speech(*(batch[k] for k in ("waveforms", "sample_lengths", "labels")))
    assert (speech[0][output.masked] == model.mask_emb).all()
    mask = torch.zeros_like(batch["units"], dtype=torch.bool)
    mask[0, 10:30] = True
    model.forward_text(batch["units"], batch["characters"], mask)
    text, units = shared[1], model.unit_embed_tokens(batch["units"])
    assert (text[mask] == model.mask_emb).all()
    assert torch.equal(text[~mask], units[~mask]), "no dropout on unit embeddings"


def test_the_end_of_a_sentence_is_a_unit_like_any_other(small_model, batch, inputs_of):
    """It is embedded, and in a short sentence it may be masked; padding never is."""
    model = small_model().train()
    seen = inputs_of(model.unit_encoder)
    units = torch.full((2, 14), PAD)
    units[0, :14], units[1, :12] = 5, 6
    units[0, 13] = units[1, 11] = EOS
    masked_ends = 0
    for seed in range(20):
        torch.manual_seed(seed)
        model.forward_text(units, batch["characters"][:, :4])
        masked = (seen[-1] == model.mask_emb).all(-1)
        assert not (masked & (units == PAD)).any()
        end = seen[-1][(units == EOS) & ~masked]
        assert (end == model.unit_embed_tokens.weight[EOS]).all()
        masked_ends += int((masked & (units == EOS)).sum())
    assert 0 < masked_ends < 40


def test_the_middle_prediction_sees_no_swapped_units(small_model, batch):
    """The first loss is of the states before swapping: it gives unit embeddings no gradient."""
    model = small_model().train()
    output = model.forward_speech(*(batch[k] for k in ("waveforms", "sample_lengths", "labels")))
    assert output.swapped.any()
    output.middle.loss.backward(retain_graph=True)
    assert model.unit_embed_tokens.weight.grad is None
    output.top.loss.backward()
    assert model.unit_embed_tokens.weight.grad.any()


def test_equal_widths_tie_no_tables(small_model, batch):
    """Deliberate deviation: the released code ties two tables if unit_dim equals embed_dim."""
    model = small_model(unit_dim=32).train()
    assert model.config.unit_dim == model.config.embed_dim
    tables = (*model.label_embs_list, model.unit_embed_tokens.weight)
    assert len({table.data_ptr() for table in tables}) == 3
    model(**batch)[0].backward()
    assert not torch.equal(model.label_embs_list[0].grad, model.unit_embed_tokens.weight.grad)


def test_the_ctc_loss_never_sees_padded_outputs(small_model, batch):
    """The head gives T + 1 outputs; those from a row's length on have no gradient."""
    model = small_model().eval()
    text = model.forward_text(
        batch["units"], batch["characters"], torch.zeros_like(batch["units"], dtype=torch.bool)
    )
    lengths = (batch["units"] != PAD).sum(1)
    assert text.logits.shape[1] == batch["units"].shape[1] + 1
    logits = text.logits.detach().requires_grad_()
    ctc_loss(logits, lengths, batch["characters"]).backward()
    for row, length in enumerate(lengths.tolist()):
        assert logits.grad[row, :length].any(-1).all()
        assert not logits.grad[row, length:].any()


def test_fine_tuning_runs_without_lengths(small_model, batch):
    """The released fine-tuning crashes without a padding mask."""
    model = small_model().eval()
    waveform = batch["waveforms"][:1]
    without = model.ctc_logits(model.encode(waveform))
    given = model.ctc_logits(model.encode(waveform, torch.tensor([waveform.shape[1]])))
    torch.testing.assert_close(without, given)


def test_layerdrop_of_the_two_encoders_is_set_apart(small_model):
    model = small_model(speech_layerdrop=0.3, shared_layerdrop=0.0)
    assert (model.encoder.layerdrop, model.unit_encoder.layerdrop) == (0.3, 0.0)


def test_no_dropout_is_left_in_evaluation(small_model, batch):
    model = small_model().eval()
    first, _ = model.extract_features(batch["waveforms"], batch["sample_lengths"])
    second, _ = model.extract_features(batch["waveforms"], batch["sample_lengths"])
    assert torch.equal(first, second)


def test_the_end_of_sentence_gets_a_predicted_duration():
    """As theirs; only padding gets none."""
    torch.manual_seed(0)
    config = TextToUnitConfig(embed_dim=16, ffn_dim=16, predictor_dim=8, decoder_layers=1)
    model = TextToUnit(config, 9, 5).eval()
    with torch.no_grad():
        model.encoder.var_adaptor.duration_predictor.proj.weight.zero_()
        model.encoder.var_adaptor.duration_predictor.proj.bias.fill_(1.1)
    durations = model.predict(torch.tensor([[4, 5, EOS], [6, EOS, PAD]])).durations
    assert durations.tolist() == [[2, 2, 2], [2, 2, 0]]
