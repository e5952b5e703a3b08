"""A SpeechLM as an encoder of speech: without the parts that only pre-training and CTC use."""

from __future__ import annotations

from torch import nn

from speechlm.models.speechlm import SpeechLM


def drop_units(model: SpeechLM) -> None:
    """Takes the unit embeddings and scores out; the model can no longer be pre-trained."""
    model.label_embs_list = nn.ParameterList()
    model.final_proj_list = nn.ModuleList()
    model.unit_embed_tokens = model.unit_encoder.embed_tokens = None


def drop_characters(model: SpeechLM) -> None:
    """Takes the CTC head out."""
    model.unit_encoder_ctc_head = None


def without_heads(model: SpeechLM, keep_ctc: bool = False) -> SpeechLM:
    """The model, from now on an encoder of speech for another task.

    A front end whose gradient the config multiplies by 0 is frozen.

    Args:
        model: is changed.
        keep_ctc: take out what predicts units only, and leave the CTC head.
    """
    drop_units(model)
    if not keep_ctc:
        drop_characters(model)
    if model.config.feature_grad_mult == 0.0:
        model.feature_extractor.requires_grad_(False)
    return model
