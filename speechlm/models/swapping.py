"""Random swapping of hidden states and unit embeddings (paper: "Random Swapping Mechanism").

B batch, T frames, D model width.
"""

from __future__ import annotations

from torch import Tensor, nn

from speechlm.conventions import PAD
from speechlm.kernels import fast
from speechlm.kernels.gpu_frames import swap_rows


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


def swap_with_targets(
    hidden: Tensor, units: nn.Embedding, targets: Tensor, swapped: Tensor, trained: Tensor
) -> Tensor:
    """The same with an embedding of units; arguments as in `swap_with_units`.

    Args:
        units: gives the embeddings of the targets.
        targets: (B, T) units of the frames.
        trained: (B, T), of `trained_units`.
    """
    if fast("frames", hidden):
        table = units.weight.to(hidden.dtype)
        return swap_rows(hidden, table, targets, swapped, trained)
    return swap_with_units(hidden, units(targets), swapped)


def trained_units(targets: Tensor, swapped: Tensor, n_units: int) -> Tensor:
    """Units (B, T) whose embeddings learn from a frame; n_units where none does, as of PAD."""
    return targets.masked_fill(~swapped | (targets == PAD), n_units)
