"""SpeechLM with its CTC head: the part that fine-tuning trains as an encoder, and the whole.

B batch, S samples (16 kHz), T frames, D model width, V characters. Needs no ESPnet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechlm.conventions import PAD, Framing
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.models import AugmentOptions, SpeechLM, SpeechLMConfig
from speechlm.models.heads import CTC_HEAD, PREDICTIONS, required
from speechlm.models.without_heads import without_heads

OUTPUT_LAYER = "unit_encoder_ctc_head.5."
"""How the names of the weights of the CTC head's linear layer begin."""


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
        """As `ctc_states`; masked in training if asked for."""
        augment = self.augment if self.training else None
        return ctc_states(self.speechlm, waveforms, sample_lengths, augment)


def ctc_states(
    model: SpeechLM,
    waveforms: Tensor,
    sample_lengths: Tensor,
    augment: AugmentOptions | None = None,
) -> tuple[Tensor, Tensor]:
    """(B, S), (B,) samples -> (B, T, D) that the CTC head's linear layer sees, (B,) valid frames.

    T counts the head's outputs, of which a frame may have several. Its convolution gives those of
    one more frame, which sees padding and is dropped.
    """
    encoded = model.encode(waveforms, sample_lengths, augment)
    hidden = required(model.unit_encoder_ctc_head, CTC_HEAD).before_output(encoded.features)
    lengths = encoded.lengths * model.config.ctc_outputs
    return hidden[:, : int(lengths.max())], lengths


def split_weights(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A pre-trained SpeechLM's weights as those of a `CTCEncoder` and of its output layer."""
    encoder = {
        f"speechlm.{name}": value
        for name, value in weights.items()
        if not name.startswith((*PREDICTIONS, OUTPUT_LAYER))
    }
    output = {name: weights[OUTPUT_LAYER + name] for name in ("weight", "bias")}
    return encoder, output


class CTCModel(nn.Module):
    """A SpeechLM fine-tuned with CTC: waveforms -> log-probabilities of characters.

    Args:
        network: with a CTC head; it is not copied. With `ignore_padding` in its config, as
            `load_model` has it, an utterance's result does not depend on its batch.
    """

    def __init__(self, network: SpeechLM) -> None:
        super().__init__()
        self.speechlm = network

    @property
    def output(self) -> nn.Linear:
        """The last projection, D -> V."""
        return required(self.speechlm.unit_encoder_ctc_head, CTC_HEAD).output_layer

    @property
    def framing(self) -> Framing:
        """Which samples the model's outputs are made of."""
        return self.speechlm.config.ctc_framing

    @torch.inference_mode()
    def forward(self, waveforms: Tensor, sample_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S), (B,) -> (B, T, V) logits, (B,) valid frames."""
        hidden, lengths = ctc_states(self.speechlm, waveforms, sample_lengths)
        return self.output(hidden), lengths
