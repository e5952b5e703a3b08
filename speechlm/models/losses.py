"""The terms of the SpeechLM loss.

N masked frames of a batch, D model width, P width of the unit space, V units, B batch, T frames,
U characters.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.conventions import BLANK, EOS, PAD
from speechlm.kernels import fast
from speechlm.kernels.gpu_losses import mean_square
from speechlm.models.inputs import all_to_device


@dataclasses.dataclass
class UnitPrediction:
    """Masked prediction of units at one depth."""

    logits: Tensor
    """(N, V) float32."""
    loss: Tensor
    """Cross entropy summed over the N frames."""
    correct: Tensor
    """Number of frames whose best unit is the target."""


def unit_logits(
    hidden: Tensor, project: nn.Module, embeddings: Tensor | None, temperature: float
) -> Tensor:
    """Scores of all units: cos(W h, e_v) / temperature, in float32.

    Args:
        hidden: (N, D) states of the frames to predict.
        project: W, D -> P.
        embeddings: (V, P), one row a unit; None: the scores are W h itself, P = V (SpeechLM-Fast).

    Returns:
        (N, V). Source: paper, UMLM loss; temperature 0.1.
    """
    if embeddings is None:
        # Not rounded to autocast's type, in which scores of 20 are 0.1 apart
        with torch.autocast(hidden.device.type, enabled=False):
            return project(hidden.to(cast(nn.Linear, project).weight.dtype)).float()
    projected = F.normalize(project(hidden).float(), dim=-1, eps=1e-8)
    units = F.normalize(embeddings.float(), dim=-1, eps=1e-8)
    with torch.autocast(hidden.device.type, enabled=False):
        return projected @ units.T / temperature


def predict_units(logits: Tensor, targets: Tensor) -> UnitPrediction:
    """UMLM at one depth: summed cross entropy and hits for (N, V) scores, (N,) units."""
    loss = F.cross_entropy(logits, targets, reduction="sum")
    correct = (logits.detach().argmax(-1) == targets).sum()
    return UnitPrediction(logits, loss, correct)


def feature_energy(features: Tensor) -> Tensor:
    """Mean square of the front end's features (B, T, C), (), in float32: what the penalty is of."""
    if fast("losses", features):
        return mean_square(features)
    return features.float().square().mean()


def label_smoothed_loss(logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Cross entropy against (1 - e) on the target and e spread over the V - 1 other classes.

    Args:
        logits: (N, V) scores.
        targets: (N,) classes.
        smoothing: e.

    Returns:
        (loss, negative log-likelihood), () each, summed over the rows, float32.
    """
    # With p the target's probability and e' = e / (V - 1) on each of the others:
    #   -(1 - e) log p - e' (sum_v log p_v - log p) = (1 - e - e') (-log p) - e' sum_v log p_v
    log_probs = F.log_softmax(logits.float(), -1)
    others = smoothing / (log_probs.shape[1] - 1)
    likelihood = -log_probs.gather(1, targets[:, None]).sum()
    return (1.0 - smoothing - others) * likelihood - others * log_probs.sum(), likelihood


def ctc_targets(characters: Tensor) -> Tensor:
    """(B, U) bool: the characters that CTC writes, which PAD and a trailing EOS are not."""
    return (characters != PAD) & (characters != EOS)


def ctc_fits(frame_lengths: Tensor, characters: Tensor) -> Tensor:
    """Whether CTC can write each sentence in its frames: (B,) bool; arguments as in `ctc_loss`.

    It needs a frame for each character, and one more for the blank between two equal ones.
    """
    target = ctc_targets(characters)
    equal = (characters[:, 1:] == characters[:, :-1]) & target[:, 1:]
    return frame_lengths >= target.sum(1) + equal.sum(1)


def ctc_loss(logits: Tensor, frame_lengths: Tensor, characters: Tensor) -> Tensor:
    """CTC summed over the sentences that fit into their frames (`ctc_fits`).

    The others add nothing, as if they were not in the batch. Whoever takes a mean must not count
    them either.

    Args:
        logits: (B, T', V) with T' >= max(frame_lengths).
        frame_lengths: (B,) scored frames; a GPU's logits wait for nothing if these and the
            characters are on the host.
        characters: (B, U) ids, right-padded with PAD; a trailing EOS is not part of the target.

    Returns:
        () float32; infinite if a sentence that fits has probability 0.
    """
    log_probs = F.log_softmax(logits.float(), -1).transpose(0, 1)
    # A sentence that does not fit is scored as an empty one, whose loss and gradient are finite,
    # and multiplied by 0: no row is taken out, which would make a GPU wait for the count.
    fits = ctc_fits(frame_lengths, characters)
    target_lengths = ctc_targets(characters).sum(1) * fits
    all_fit = fits.device.type == "cpu" and bool(fits.all())
    fits, characters = all_to_device(logits, fits, characters)
    losses = F.ctc_loss(
        log_probs, characters, frame_lengths, target_lengths, blank=BLANK, reduction="none"
    )
    return (losses if all_fit else losses * fits).sum()
