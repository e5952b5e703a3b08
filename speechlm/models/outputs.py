"""What SpeechLM's methods take and return, as named tensors.

B batch, T frames (20 or 40 ms) or text units, D model width, N masked frames.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor

from speechlm.models.losses import UnitPrediction


@dataclasses.dataclass
class SpeechDraws:
    """The random choices of one speech batch; given in tests, drawn otherwise."""

    mask: Tensor | None = None
    """(B, T) bool, frames overwritten by the mask embedding."""
    swap: Tensor | None = None
    """(B, T) bool, frames drawn for swapping (masked ones among them are not swapped)."""
    label_offset: int | None = None
    """Which of a frame's labels is its target, from 0: at 100 Hz a frame of 20 ms has two."""


@dataclasses.dataclass
class AugmentOptions:
    """Masking of fine-tuning inputs (as SpecAugment); the defaults mask nothing."""

    time_prob: float = 0.0
    """Share of frames in masked spans; 0.65 in the paper's 100 h fine-tuning."""
    time_length: int = 10
    """Frames of a span."""
    channel_prob: float = 0.0
    """Share of channels in zeroed spans; 0.5 in the paper's 100 h fine-tuning."""
    channel_length: int = 64
    """Channels of a span."""


@dataclasses.dataclass
class SpeechOutput:
    """Loss terms of a speech batch: UMLM at two depths and the feature penalty."""

    middle: UnitPrediction
    """From the Speech Transformer, before swapping."""
    top: UnitPrediction
    """From the Shared Transformer."""
    unmasked: tuple[UnitPrediction, UnitPrediction] | None
    """The same two for the frames that are not masked, if `unmasked_weight` counts them."""
    feature_penalty: Tensor
    """Mean square of the front-end features."""
    n_masked: int
    """N, frames that both predictions score."""
    targets: Tensor
    """(B, T) unit of each frame (model ids, PAD where there is none)."""
    masked: Tensor
    """(B, T) bool, the N scored frames."""
    swapped: Tensor
    """(B, T) bool, frames that entered the Shared Transformer as unit embeddings."""


@dataclasses.dataclass
class TextOutput:
    """Loss term of a text batch: UCTC."""

    ctc: Tensor
    """CTC summed over the sentences that fit into their frames."""
    n_tokens: Tensor
    """Characters of these sentences, each one's EOS included; where the characters were given."""
    n_impossible: Tensor
    """Sentences with more characters than CTC can write in their frames; there, too."""
    logits: Tensor
    """(B, (T + 1) N, n_characters), N `SpeechLMConfig.ctc_outputs`."""


@dataclasses.dataclass
class Encoded:
    """Hidden states of speech."""

    features: Tensor
    """(B, T, D), output of the Shared Transformer."""
    lengths: Tensor
    """(B,) valid frames."""
    layers: list[Tensor]
    """(B, T, D) for every Transformer layer, Speech then Shared, without final norms."""
    padding: Tensor | None
    """(B, T) bool, True on padding; None when nothing was padded."""
    middle: Tensor
    """(B, T, D), output of the Speech Transformer."""
