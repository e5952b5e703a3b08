"""Random swapping of hidden states and unit embeddings (paper: "Random Swapping Mechanism").

B batch, T frames, D model width.
"""

from __future__ import annotations

from torch import Tensor


def swap_with_units(hidden: Tensor, unit_embeddings: Tensor, swapped: Tensor) -> Tensor:
    """Replaces hidden states by the embeddings of their units, so that both share one space.

    Args:
        hidden: (B, T, D) outputs of the Speech Transformer.
        unit_embeddings: (B, T, D) embeddings of each frame's target unit.
        swapped: (B, T) bool, the frames to replace.

    Returns:
        (B, T, D), a new tensor.
    """
    return unit_embeddings.to(hidden.dtype).where(swapped[..., None], hidden)
