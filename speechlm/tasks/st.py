"""Fine-tuning of SpeechLM with an attention decoder on translations, as an ESPnet task.

The loss is label-smoothed cross entropy, averaged over the target tokens of all workers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.utils.nested_dict_action import NestedDictAction

from speechlm.checkpoints.translation import VOCABULARY, TranslationModel
from speechlm.conventions import PAD
from speechlm.data.target_text import TargetVocabulary
from speechlm.models import AugmentOptions, SpeechLMConfig
from speechlm.models.translation_decoder import TranslationDecoderConfig
from speechlm.tasks.common import OwnDataTask

MASKS = ("time_mask_prob", "time_mask_length", "channel_mask_prob", "channel_mask_length")
DEFAULT_MASKS = {
    "time_mask_prob": 0.5,
    "time_mask_length": 10,
    "channel_mask_prob": 0.0,
    "channel_mask_length": 64,
}
"""Masks on the encoder's input, as the authors'."""


class ESPnetTranslationModel(AbsESPnetModel):
    """`TranslationModel` with ESPnet's calling convention."""

    def __init__(self, model: TranslationModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """(B, S) waveforms, (B,) samples, (B, U) target ids, (B,) -> loss, statistics, tokens."""
        loss, stats, weight = self.model(speech, speech_lengths, text)
        return force_gatherable((loss, stats, weight), loss.device)

    def collect_feats(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Not used: the model reads waveforms, there are no features to collect."""
        raise NotImplementedError("SpeechLM reads waveforms; there is no statistics stage")


class TargetIds:
    """ESPnet's preprocessor: the translation becomes ids that end in EOS."""

    def __init__(self, vocabulary: TargetVocabulary) -> None:
        self.vocabulary = vocabulary

    def __call__(self, utterance: str, data: dict[str, Any]) -> dict[str, np.ndarray]:
        """Replace `text` by (U,) int64."""
        if "text" in data:
            data["text"] = self.vocabulary.encode(data["text"])
        return data


class SpeechLMSTTask(OwnDataTask):
    """Translation of speech: ESPnet's trainer, options and files, this project's model."""

    names = ("speech", "text")

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Options of the model; ESPnet's own defaults become the authors' for Base."""
        group = parser.add_argument_group("speech translation")
        cls.add_size(
            group, "the encoder to train from scratch; with pre-trained weights their own is used"
        )
        group.add_argument(
            "--encoder_conf",
            action=NestedDictAction,
            default={},
            help="masks in training; `speechlm`: differences from the "
            "pre-trained model, or from config_size",
        )
        group.add_argument(
            "--decoder_conf",
            action=NestedDictAction,
            default={},
            help="values of the decoder; what is left out is Base's",
        )
        group.add_argument(
            "--max_sentences",
            type=int,
            help="utterances of a batch at most, of all workers together as batch_bins; "
            "none: no limit",
        )
        cls.add_common_arguments(parser)
        parser.set_defaults(
            optim="adam",
            optim_conf={"lr": 1e-4, "betas": [0.9, 0.999], "eps": 1e-8},
            scheduler="linear_decay",
            grad_clip=1.0,
            batch_type="numel",
            batch_bins=1_600_000,
            best_model_criterion=[("valid", "accuracy", "max")],
            keep_nbest_models=[1],
        )

    @classmethod
    def build_collate_fn(cls, args: argparse.Namespace, train: bool) -> Callable:
        """Pads waveforms with zeros and targets with PAD."""
        return CommonCollateFn(float_pad_value=0.0, int_pad_value=PAD)

    @classmethod
    def build_preprocess_fn(cls, args: argparse.Namespace, train: bool) -> Callable:
        """Ids of translations."""
        return TargetIds(vocabulary_of(args))

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> ESPnetTranslationModel:
        """The network of `encoder_conf` and `decoder_conf`, for the vocabulary of the folder."""
        masks = {
            **DEFAULT_MASKS,
            **{n: args.encoder_conf[n] for n in MASKS if n in args.encoder_conf},
        }
        model = TranslationModel(
            SpeechLMConfig.from_dict(args.encoder_conf["speechlm"]),
            TranslationDecoderConfig.from_dict(args.decoder_conf),
            len(vocabulary_of(args)),
            AugmentOptions(*(masks[name] for name in MASKS)),
        )
        return ESPnetTranslationModel(model)


def vocabulary_of(args: argparse.Namespace) -> TargetVocabulary:
    """The vocabulary in the training's folder."""
    return TargetVocabulary.read(Path(args.output_dir) / VOCABULARY)
