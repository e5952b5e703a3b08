"""Models whose heads were taken out: what still works, and what is said of the rest."""

import pytest
import torch

from speechlm.models.heads import HEADS, PREDICTIONS
from speechlm.models.without_heads import without_heads


@pytest.mark.parametrize("keep_ctc, gone", [(False, HEADS), (True, PREDICTIONS)])
def test_weights_that_go_are_those_that_are_listed(small_model, keep_ctc, gone):
    full = small_model().state_dict()
    left = without_heads(small_model(), keep_ctc).state_dict()
    assert left.keys() == {name for name in full if not name.startswith(gone)}
    assert len(left) < len(full)


def test_speech_has_the_same_hidden_states(small_model, batch):
    expected, _ = small_model().extract_features(batch["waveforms"])
    found, _ = without_heads(small_model()).extract_features(batch["waveforms"])
    assert torch.equal(found, expected)


@pytest.mark.parametrize("factor, trained", [(0.0, False), (0.1, True)])
def test_a_front_end_without_gradient_is_frozen(small_model, factor, trained):
    model = without_heads(small_model(feature_grad_mult=factor))
    assert {p.requires_grad for p in model.feature_extractor.parameters()} == {trained}


def test_what_needs_a_head_says_that_it_is_gone(small_model, batch):
    speech = batch["waveforms"], batch["sample_lengths"], batch["labels"]
    text = batch["units"], batch["characters"]
    model = without_heads(small_model(), keep_ctc=True)
    assert model.ctc_logits(model.encode(batch["waveforms"])).shape[-1] == 12
    for call in (lambda: model.forward_speech(*speech), lambda: model.forward_text(*text)):
        with pytest.raises(ValueError, match="without unit embeddings.*has all its parts"):
            call()
    model = without_heads(small_model())
    with pytest.raises(ValueError, match="without CTC head"):
        model.ctc_logits(model.encode(batch["waveforms"]))
