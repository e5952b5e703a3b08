"""The parts of a SpeechLM that only its pre-training and CTC use.

Weights of checkpoints are told apart by how their names begin.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

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
