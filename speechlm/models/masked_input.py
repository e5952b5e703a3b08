"""Frames and units of which some are masked, as the encoders see them.

B batch, T text units, D model width, V units.
"""

from __future__ import annotations

from torch import Tensor, nn

from speechlm.conventions import PAD
from speechlm.kernels import fast
from speechlm.kernels.gpu_frames import fill_frames, rows_of
from speechlm.kernels.products import compute_type
from speechlm.models.inputs import all_to_device


def mask_frames(x: Tensor, mask: Tensor, mask_embedding: Tensor) -> Tensor:
    """x (B, T, D) with the mask embedding (D,) in the frames of mask (B, T)."""
    if fast("frames", x):
        return fill_frames(x, mask, mask_embedding)
    return mask_embedding.to(x.dtype).where(mask[..., None], x)


def masked_units(
    units: Tensor, mask: Tensor, embed: nn.Embedding, mask_embedding: Tensor
) -> Tensor:
    """Embeddings of units (B, T), masked where mask (B, T) is: (B, T, D).

    Units and mask may be on the host.
    """
    if not fast("frames", mask_embedding):
        mask, units = all_to_device(mask_embedding, mask, units)
        return mask_frames(embed(units), mask, mask_embedding)
    # The mask embedding as row V of the table: nothing is embedded that would be overwritten.
    n_units = embed.num_embeddings
    picked = units.masked_fill(mask, n_units)
    trained = picked.masked_fill(picked == PAD, n_units + 1)
    picked, trained = all_to_device(mask_embedding, picked, trained)
    return rows_of(embed.weight, mask_embedding, picked, trained, compute_type(mask_embedding))
