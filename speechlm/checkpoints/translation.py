"""Speech translation: a SpeechLM encoder with the attention decoder. Needs no ESPnet.

B batch, S samples (16 kHz), T frames, D model width, U target tokens.

A fine-tuning's folder has ESPnet's config.yaml (`encoder_conf.speechlm` and `decoder_conf` are the
values of the two parts), weights, and the target vocabulary in the folder `vocabulary`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from speechlm.checkpoints.fine_tuned import FineTuning
from speechlm.checkpoints.model_dir import load_translation, load_weights, read_description
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.checkpoints.weight_checks import build_for
from speechlm.conventions import PAD, Framing
from speechlm.data.target_text import TargetVocabulary
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.models import AugmentOptions, SpeechLM, SpeechLMConfig
from speechlm.models.translation_decoder import TranslationDecoder, TranslationDecoderConfig
from speechlm.models.without_heads import without_heads

VOCABULARY = "vocabulary"
"""Folder of the target vocabulary inside that of a fine-tuning."""
_DECODER = "model.decoder."  # how the names of its weights begin in ESPnet's files


class TranslationModel(nn.Module):
    """Waveforms to target tokens.

    Args:
        config: the encoder's values.
        decoder: the decoder's values; `encoder_dim` must be the encoder's width.
        n_tokens: size of the target vocabulary.
        augment: masks on the encoder's input in training; None: none.
    """

    def __init__(
        self,
        config: SpeechLMConfig,
        decoder: TranslationDecoderConfig,
        n_tokens: int,
        augment: AugmentOptions | None = None,
    ) -> None:
        super().__init__()
        _check_width(config, decoder)
        self.speechlm = without_heads(SpeechLM(config, PAD + 1, CharacterVocabulary.n_ids))
        self.speechlm.mask_emb.requires_grad_(augment is not None and augment.time_prob > 0.0)
        self.decoder = TranslationDecoder(decoder, n_tokens)
        self.augment = augment

    @property
    def framing(self) -> Framing:
        """Which samples the encoder's frames are made of."""
        return self.speechlm.framing

    def encode(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, S), (B,) samples -> (B, T, D), (B, T) bool, True on padded frames."""
        encoded = self.speechlm.encode(waveforms, lengths, self.augment if self.training else None)
        return encoded.features, encoded.padding

    def forward(
        self, waveforms: Tensor, lengths: Tensor, targets: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Loss a token, statistics, number of tokens; targets (B, U) as in the decoder's loss."""
        features, padding = self.encode(waveforms, lengths)
        return self.decoder.loss(features, padding, targets)


def load_translator(
    folder: str | os.PathLike[str], weights: str | None = None, device: str = "cpu"
) -> tuple[TranslationModel, TargetVocabulary]:
    """The model of a translation fine-tuning, in evaluation mode, and its vocabulary.

    Padding does not change an utterance's result: the config's `ignore_padding` is switched on.

    Args:
        folder: of the fine-tuning.
        weights: file name in the folder; None: the best in validation.
        device: where to put the model.

    Raises:
        ValueError: the folder holds no finished translation fine-tuning.
    """
    tuned, decoder, vocabulary = _read_translation(folder)
    config = tuned.config({"ignore_padding": True})
    path = tuned.weights_file(weights)
    own = {n.removeprefix("model."): w for n, w in load_weights_only(path).items()}
    layers = config.speech_layers + config.shared_layers + decoder.layers
    build = partial(TranslationModel, config, decoder, len(vocabulary))
    model = build_for(build, layers, own, str(path))
    try:
        model.load_state_dict(own)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:400]
        raise ValueError(f"{path} does not fit the model of its folder: {reason}") from None
    return model.eval().to(device), vocabulary


def load_decoder(folder: str | os.PathLike[str]) -> tuple[TranslationDecoder, TargetVocabulary]:
    """The decoder of a translation fine-tuning, in evaluation mode, and its vocabulary.

    Its weights are those that are the best in validation, as `SpeechLM.from_pretrained` takes them.

    Raises:
        ValueError: as `load_translator`.
    """
    tuned, config, vocabulary = _read_translation(folder)
    _check_width(tuned.config({}), config)
    path = tuned.weights_file()
    weights = {
        name.removeprefix(_DECODER): weight
        for name, weight in load_weights_only(path).items()
        if name.startswith(_DECODER)
    }
    build = partial(TranslationDecoder, config, len(vocabulary))
    decoder = build_for(build, config.layers, weights, str(path))
    load_weights(decoder, weights, str(path))
    return decoder.eval(), vocabulary


def _read_translation(
    folder: str | os.PathLike[str],
) -> tuple[FineTuning, TranslationDecoderConfig, TargetVocabulary]:
    """What a translation fine-tuning has beside its weights.

    Raises:
        ValueError: the folder holds another model (what it is, is said), or files are damaged.
    """
    tuned = FineTuning.find(folder)
    if tuned is None or tuned.kind != "translation":
        kind = read_description(folder).kind if tuned is None else tuned.kind
        advice = {
            "pretrained": "fine-tune it first (finetune_st)",
            "ctc": "it does not translate, it transcribes: transcribe in Python and as a program, "
            "decode_ctc for data directories",
            "translation": "imported: fine-tune it first (finetune_st --init --init_decoder)",
        }
        raise ValueError(
            f"{folder} holds no fine-tuning of translation, but a model of kind {kind}; "
            f"{advice[kind]}"
        )
    vocabulary = TargetVocabulary.read(Path(folder) / VOCABULARY)
    return tuned, TranslationDecoderConfig.from_dict(tuned.values["decoder_conf"]), vocabulary


def _check_width(config: SpeechLMConfig, decoder: TranslationDecoderConfig) -> None:
    if decoder.encoder_dim != config.embed_dim:
        raise ValueError(
            f"decoder_conf: encoder_dim {decoder.encoder_dim}, but the encoder's width is "
            f"{config.embed_dim}"
        )


def read_decoder(
    folder: str | os.PathLike[str], config: TranslationDecoderConfig, tokens: Sequence[str]
) -> dict[str, Tensor]:
    """Weights of a trained translation decoder for a vocabulary that may be another.

    Rows of tokens that both vocabularies have are taken over; the others start at random.

    Raises:
        ValueError: the folder has no decoder, or one of another shape.
    """
    if FineTuning.find(folder) is None:
        _, old, known = load_translation(folder)
        if known is None and len(old.embed_tokens.weight) != len(tokens):
            raise ValueError(
                f"{folder} does not say what its {len(old.embed_tokens.weight)} tokens are, and "
                f"the vocabulary has {len(tokens)}; import it with --target_dictionary"
            )
        known = tokens if known is None else known
    else:
        model, vocabulary = load_translator(folder)
        old, known = model.decoder, vocabulary.tokens
    for name in ("encoder_dim", "embed_dim", "ffn_dim", "layers", "heads", "relative_clip"):
        there, wanted = getattr(old.config, name), getattr(config, name)
        if there != wanted:
            raise ValueError(f"the decoder of {folder} has {name} {there}, expected {wanted}")
    new = TranslationDecoder(config, len(tokens)).state_dict()
    weights = dict(old.state_dict())
    rows = {token: row for row, token in enumerate(known)}
    pairs = [(row, rows[token]) for row, token in enumerate(tokens) if token in rows]
    logging.info("%d of %d tokens are known to %s", len(pairs), len(tokens), folder)
    to, of = torch.tensor(pairs).T
    for name in ("embed_tokens.weight", "output_projection.weight"):
        table = new[name].clone()
        table[to] = weights[name][of]
        weights[name] = table
    return weights
