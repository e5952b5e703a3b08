"""The parts of a SpeechLM that only its pre-training and CTC use, and models without them.

Weights of checkpoints are told apart by how their names begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from torch import nn

if TYPE_CHECKING:
    from speechlm.models.speechlm import SpeechLM

Part = TypeVar("Part", bound=nn.Module)

PARTS = {
    "units": ("label_embs_list.", "unit_embed_tokens.", "unit_encoder.embed_tokens."),
    "characters": ("unit_encoder_ctc_head.",),
}
"""Parts that a model may lack (the authors' cleaned checkpoints lack both): their weights."""
PREDICTIONS = ("final_proj_list.", *PARTS["units"])
"""Weights that only pre-training uses."""
HEADS = (*PREDICTIONS, *PARTS["characters"])
"""Weights that the hidden states of speech do not need."""
UNIT_EMBEDDINGS, CTC_HEAD = "unit embeddings", "CTC head"
"""What messages call the parts."""


def drop_units(model: SpeechLM) -> None:
    """Takes the unit embeddings out; the model can no longer be pre-trained."""
    model.label_embs_list = nn.ParameterList()
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
    model.final_proj_list = nn.ModuleList()
    if not keep_ctc:
        drop_characters(model)
    if model.config.feature_grad_mult == 0.0:
        model.feature_extractor.requires_grad_(False)
    return model


def required(part: Part | None, name: str) -> Part:
    """A part that may have been taken out.

    Raises:
        ValueError: it has been.
    """
    if part is None:
        raise ValueError(
            f"this SpeechLM is without {name}, as its checkpoint was, or as an encoder of another "
            "task is; open a model that has all its parts"
        )
    return part
