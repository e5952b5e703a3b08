"""The parts of a SpeechLM that only its pre-training and CTC use.

Weights of checkpoints are told apart by how their names begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import nn

Part = TypeVar("Part", bound=nn.Module)

PARTS = {
    "units": ("label_embs_list.", "unit_embed_tokens.", "unit_encoder.embed_tokens."),
    "characters": ("unit_encoder_ctc_head.",),
}
"""Parts that a model may lack (the authors' cleaned checkpoints lack both): their weights."""
TIED = "unit_encoder.embed_tokens."
"""The unit embeddings once more, under a name of the authors; stored once."""
SCORES = "final_proj_list."
"""Projections of the unit predictions: into a space of cosines, in a fast model onto the units."""
PREDICTIONS = (SCORES, *PARTS["units"])
"""Weights that only pre-training uses."""
HEADS = (*PREDICTIONS, *PARTS["characters"])
"""Weights that the hidden states of speech do not need."""
UNIT_EMBEDDINGS, CTC_HEAD = "unit embeddings", "CTC head"
"""What messages call the parts."""


def weights_of(parts: Sequence[str]) -> tuple[str, ...]:
    """How the names of the weights begin that a model without some of `PARTS` may lack.

    Without units it has nothing to score; the authors' cleaned checkpoints have kept the scores.
    """
    names = tuple(name for part in parts for name in PARTS[part])
    return (*names, SCORES) if "units" in parts else names


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
