"""The part of SpeechLM that CTC fine-tuning trains: waveform -> input of the output layer.

B batch, S samples (16 kHz), T frames, D model width, V characters. Needs no ESPnet.
"""

from __future__ import annotations

import os
from typing import Any, Self

import torch
from torch import Tensor, nn

from speechlm.checkpoints.model_dir import check_characters, load_speechlm, read_description
from speechlm.conventions import PAD, Framing
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.models import AugmentOptions, SpeechLM, SpeechLMConfig
from speechlm.models.heads import CTC_HEAD, PREDICTIONS, required
from speechlm.models.without_heads import without_heads

_OUTPUT_LAYER = "unit_encoder_ctc_head.5."
BEST = tuple(
    f"valid.{rate}.{which}.pth" for rate in ("wer_ctc", "cer_ctc") for which in ("ave", "best")
)
"""Weights that a CTC fine-tuning ends with, the preferred ones first."""


class CTCEncoder(nn.Module):
    """SpeechLM up to the GELU of its CTC head; the head's linear layer is the caller's.

    The modules that only pre-training uses (unit embeddings and predictions) are left out.
    Source: paper, UCTC loss; the head is reused by CTC fine-tuning (doc/paper_map.md).
    """

    def __init__(self, config: SpeechLMConfig, augment: AugmentOptions | None = None) -> None:
        super().__init__()
        model = SpeechLM(config, n_units=PAD + 1, n_characters=CharacterVocabulary.n_ids)
        model = without_heads(model, keep_ctc=True)
        required(model.unit_encoder_ctc_head, CTC_HEAD).add_module("5", nn.Identity())
        model.mask_emb.requires_grad_(augment is not None and augment.time_prob > 0.0)
        self.speechlm, self.augment = model, augment

    @property
    def width(self) -> int:
        """D."""
        return self.speechlm.config.embed_dim

    def forward(self, waveforms: Tensor, sample_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S), (B,) samples -> (B, T, D), (B,) valid frames; masked in training if asked for.

        T counts the head's outputs, of which a frame may have several. Its convolution gives those
        of one more frame, which sees padding and is dropped.
        """
        augment = self.augment if self.training else None
        encoded = self.speechlm.encode(waveforms, sample_lengths, augment)
        head = required(self.speechlm.unit_encoder_ctc_head, CTC_HEAD)
        hidden = head.before_output(encoded.features)
        lengths = encoded.lengths * self.speechlm.config.ctc_outputs
        return hidden[:, : int(lengths.max())], lengths


def split_weights(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A pre-trained SpeechLM's weights as those of a `CTCEncoder` and of its output layer."""
    encoder = {
        f"speechlm.{name}": value
        for name, value in weights.items()
        if not name.startswith((*PREDICTIONS, _OUTPUT_LAYER))
    }
    output = {name: weights[_OUTPUT_LAYER + name] for name in ("weight", "bias")}
    return encoder, output


class CTCModel(nn.Module):
    """A fine-tuned model for greedy decoding: waveforms -> log-probabilities of characters.

    Padding never changes an utterance's result: the config's `ignore_padding` is switched on.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = CTCEncoder(SpeechLMConfig.from_dict({**config, "ignore_padding": True}))
        self.output = nn.Linear(self.encoder.width, CharacterVocabulary.n_ids)

    @property
    def framing(self) -> Framing:
        """Which samples the model's outputs are made of."""
        return self.encoder.speechlm.config.ctc_framing

    @torch.inference_mode()
    def forward(self, waveforms: Tensor, sample_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S), (B,) -> (B, T, V) logits, (B,) valid frames."""
        hidden, lengths = self.encoder(waveforms, sample_lengths)
        return self.output(hidden), lengths

    @classmethod
    def of_folder(cls, folder: str | os.PathLike[str]) -> Self:
        """The SpeechLM of a model folder (an imported fine-tuning) with its CTC head.

        Raises:
            ValueError: it has no CTC head, or one for other characters.
        """
        description = read_description(folder)
        if "characters" in description.without:
            raise ValueError(f"{folder} holds a model without CTC head; fine-tune it first")
        check_characters(folder)
        encoder, output = split_weights(load_speechlm(folder)[0].state_dict())
        model = cls(description.config.to_dict())
        model.encoder.load_state_dict(encoder)
        model.output.load_state_dict(output)
        return model

    def load_espnet(self, weights: dict[str, Tensor], source: str) -> None:
        """Weights of the ESPnet model that `speechlm.tasks.asr` trains.

        Raises:
            ValueError: not.
        """
        parts = {"encoder.": "encoder.", "ctc.ctc_lo.": "output."}
        own = {
            new + name[len(old) :]: value
            for name, value in weights.items()
            for old, new in parts.items()
            if name.startswith(old)
        }
        try:
            self.load_state_dict(own)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:400]
            raise ValueError(f"{source} does not fit the model of its folder: {reason}") from None
