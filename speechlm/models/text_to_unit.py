"""Text to hidden units: the tokenizer of text in SpeechLM-H (paper: T2U generator).

B batch, P phones (with the end of sentence), U units (20 ms), D model width, V output classes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.conventions import PAD
from speechlm.kernels import fast
from speechlm.models.losses import label_smoothed_loss
from speechlm.models.unit_generator import (
    TextToUnitConfig,
    UnitGenerator,
    UnitPredictions,
    to_durations,
)

NO_UNIT = -1
"""Padding of unit sequences: these frames are not scored."""
SPECIAL_CLASSES = 4
"""Classes beyond the units, which the authors' output layer has and nothing uses."""
UNUSED_KEYS = (
    "encoder.embed_positions.",
    "encoder.var_adaptor.pitch_predictor.",
    "encoder.var_adaptor.energy_predictor.",
    "encoder.var_adaptor.embed_pitch.",
    "encoder.var_adaptor.embed_energy.",
)
"""Beginnings of the names in authors' checkpoints that take no part in the model."""


class TextToUnit(nn.Module):
    """Phones to hidden units.

    Args:
        config: sizes and training behaviour.
        n_phones: ids of the phone vocabulary with its four special ids.
        n_units: hidden units; targets are their plain numbers 0 .. n_units - 1.

    Parameter names are those of the authors' FastText2Unit (without `UNUSED_KEYS`).
    """

    def __init__(self, config: TextToUnitConfig, n_phones: int, n_units: int):
        super().__init__()
        self.config, self.n_units = config, n_units
        self.encoder = UnitGenerator(config, n_phones, n_units + SPECIAL_CLASSES)

    def forward(
        self, phones: Tensor, durations: Tensor, units: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Training loss: smoothed cross entropy of units + squared error of log durations.

        Args:
            phones: (B, P) ids, each sentence ended by EOS, right-padded with PAD.
            durations: (B, P) units of each phone; 0 for EOS and padding.
            units: (B, U) unit numbers, right-padded with NO_UNIT.

        Returns:
            loss: (), mean over scored units + mean over phones.
            stats: detached scalars: loss, loss_units, loss_durations, accuracy, and
                duration_error, the mean absolute error in units.
            weight: (), scored units.

        Raises:
            ValueError: durations that do not add up to the units, or units out of range.
        """
        self._check(phones, durations, units)
        predicted = self.predict(phones, durations)
        scored = units != NO_UNIT
        logits, targets = predicted.logits[scored], units[scored]
        count = max(1, targets.shape[0])
        loss_units = label_smoothed_loss(logits, targets, self.config.label_smoothing)[0] / count
        valid = phones != PAD
        log_durations, expected = predicted.log_durations[valid].float(), durations[valid].float()
        loss_durations = F.mse_loss(log_durations, torch.log1p(expected))
        loss = loss_units + loss_durations
        stats = {
            "loss": loss.detach(),
            "loss_units": loss_units.detach(),
            "loss_durations": loss_durations.detach(),
            "accuracy": (logits.argmax(-1) == targets).sum() / count,
            "duration_error": (to_durations(log_durations.detach()) - expected).abs().mean(),
        }
        return loss, stats, loss.new_tensor(float(targets.shape[0]))

    def predict(self, phones: Tensor, durations: Tensor | None = None) -> UnitPredictions:
        """Scores of units for phones (B, P), with given or else predicted durations (B, P)."""
        return self.encoder(phones, durations)

    def freeze(self, dtype: torch.dtype = torch.float32) -> TextToUnit:
        """A copy for generation on a CPU, of the same function and several times as fast.

        It cannot be trained. bfloat16, where the processor multiplies it faster, changes some of
        the durations and units.
        """
        frozen = copy.deepcopy(self).eval().requires_grad_(False)
        if fast("tiles", frozen.encoder.out_proj.weight):
            frozen.encoder.tile_convolutions(dtype)
        return frozen.to(dtype)

    @torch.no_grad()
    def generate(self, sentences: Sequence[Tensor], max_frames: int = 2048) -> list[Tensor]:
        """The most probable units of each sentence, in evaluation mode.

        Sentences are batched by their numbers of phones, then by their numbers of units.

        Args:
            sentences: phone ids (P,) each, ended by EOS; a few thousand at a time.
            max_frames: padded phones or units of a batch, at most (one sentence at least).

        Returns:
            (U,) int64 unit numbers for each sentence, in the same order; a sentence whose phones
            all get duration 0 is empty.
        """
        was_training = self.training
        self.eval()
        try:
            hidden, durations = self._encode_all(sentences, max_frames)
            return self._decode_all(hidden, durations, max_frames)
        finally:
            self.train(was_training)

    def _encode_all(
        self, sentences: Sequence[Tensor], max_frames: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Hidden states (P, D) and durations (P,) of each sentence."""
        lengths = [len(sentence) for sentence in sentences]
        hidden, durations = [torch.empty(0)] * len(lengths), [torch.empty(0)] * len(lengths)
        device = self.encoder.out_proj.weight.device
        for rows in batches_by_length(lengths, max_frames):
            batch = [sentences[row] for row in rows]
            phones = nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=PAD)
            phones = phones.to(device)
            x = self.encoder.encode(phones)
            log_durations = self.encoder.log_durations(x, phones == PAD)
            predicted = to_durations(log_durations).masked_fill(phones == PAD, 0)
            for index, row in enumerate(rows):
                hidden[row] = x[index, : lengths[row]]
                durations[row] = predicted[index, : lengths[row]]
        return hidden, durations

    def _decode_all(
        self, hidden: list[Tensor], durations: list[Tensor], max_frames: int
    ) -> list[Tensor]:
        """The units of each sentence."""
        lengths = [int(duration.sum()) for duration in durations]
        units = [torch.empty(0, dtype=torch.int64)] * len(lengths)
        for rows in batches_by_length(lengths, max_frames):
            repeated = [hidden[row].repeat_interleave(durations[row], 0) for row in rows]
            x = nn.utils.rnn.pad_sequence(repeated, batch_first=True)
            counts = torch.tensor([lengths[row] for row in rows], device=x.device)
            best = self.encoder.decode(x, counts)[..., : self.n_units].argmax(-1).cpu()
            for index, row in enumerate(rows):
                units[row] = best[index, : lengths[row]].clone()
        return units

    def _check(self, phones: Tensor, durations: Tensor, units: Tensor) -> None:
        if durations.shape != phones.shape or units.shape[:1] != phones.shape[:1]:
            raise ValueError(
                f"expected durations of the phones' shape {tuple(phones.shape)} and as many rows "
                f"of units, got {tuple(durations.shape)} and {tuple(units.shape)}"
            )
        if units.numel() and not NO_UNIT <= int(units.min()) <= int(units.max()) < self.n_units:
            raise ValueError(
                f"units: expected numbers 0 to {self.n_units - 1} (padding {NO_UNIT}), got "
                f"{int(units.min())} to {int(units.max())}"
            )
        totals = durations.sum(1)
        columns = torch.arange(1, units.shape[1] + 1, device=units.device)
        given = ((units != NO_UNIT) * columns).amax(1)
        wrong = (given != totals).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"row {row} of the batch: durations add up to {int(totals[row])} units, "
                f"but {int(given[row])} are given"
            )


def batches_by_length(lengths: Sequence[int], max_frames: int) -> list[list[int]]:
    """Groups rows of similar length, longest first; longest x rows <= max_frames where possible.

    Rows of length 0 are left out.
    """
    batches: list[list[int]] = []
    room = 0
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if lengths[row] == 0:
            break
        if room == 0:
            room = max(1, max_frames // lengths[row])
            batches.append([])
        batches[-1].append(row)
        room -= 1
    return batches
