"""Which unit label each frame is to predict.

B batch, T frames, C channels, L labels of an utterance.
"""

from __future__ import annotations

import torch
from torch import Tensor


def align_labels(
    features: Tensor, labels: Tensor, ratio: int, offset: int | None = None
) -> tuple[Tensor, Tensor]:
    """Cuts features to the labels; frame t gets label number t ratio + offset.

    Args:
        features: (B, T', C).
        labels: (B, L).
        ratio: labels per frame.
        offset: which of a frame's labels, below ratio; None: one is drawn for the batch.

    Returns:
        (B, T, C) and (B, T), T the smaller of T' and L // ratio.

    Raises:
        ValueError: labels of another batch size, or fewer than one frame has.
    """
    if labels.shape[0] != features.shape[0]:
        raise ValueError(
            f"labels of {labels.shape[0]} utterances for {features.shape[0]} waveforms"
        )
    frames = min(features.shape[1], labels.shape[1] // ratio)
    if frames < 1:
        raise ValueError(
            f"{labels.shape[1]} labels are fewer than the {ratio} of one frame; were they made at "
            "another rate?"
        )
    if offset is None:
        offset = int(torch.randint(ratio, ()).item()) if ratio > 1 else 0
    targets = labels[:, offset : offset + (frames - 1) * ratio + 1 : ratio]
    return features[:, :frames], targets
