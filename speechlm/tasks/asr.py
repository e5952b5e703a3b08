"""CTC fine-tuning of SpeechLM on characters, as ESPnet's ASR task.

ESPnet's encoder is SpeechLM up to the GELU of its CTC head, and ESPnet's CTC projection is the
head's linear layer, so pre-trained weights go into both. The loss is CTC summed over a batch and
divided by its sentences (over all workers); the best weights are those with the lowest word error
rate of greedy decoding in validation. Importing this module makes `--encoder speechlm` and
`--model speechlm_ctc` known to ESPnet, for its inference as well.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder

from speechlm.checkpoints.ctc_encoder import CTCEncoder
from speechlm.checkpoints.fine_tuned import ESPNET_NAMES
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.models import AugmentOptions, SpeechLMConfig
from speechlm.tasks.common import TrainingTask
from speechlm.tasks.ctc_model import CTCModelForTraining, CTCTrainer
from speechlm.tasks.espnet_import import transformers_later

with transformers_later():
    from espnet2.tasks.asr import ASRTask, encoder_choices, model_choices


class SpeechLMEncoder(CTCEncoder, AbsEncoder):
    """SpeechLM as an ESPnet encoder that reads waveforms.

    Args:
        input_size: ESPnet's; the waveform has 1 value a sample.
        speechlm: values of `SpeechLMConfig`; what is left out is Base's.
        time_mask_prob, time_mask_length: spans of frames that become the mask embedding.
        channel_mask_prob, channel_mask_length: spans of channels that become zero.

    What ESPnet takes for frames are the outputs of the CTC head: 20 ms each, of a fast model two a
    frame of 40 ms.
    """

    def __init__(
        self,
        input_size: int = 1,
        speechlm: dict[str, Any] | None = None,
        time_mask_prob: float = 0.65,
        time_mask_length: int = 10,
        channel_mask_prob: float = 0.5,
        channel_mask_length: int = 64,
    ) -> None:
        if input_size != 1:
            raise ValueError(
                f"the SpeechLM encoder reads waveforms: input_size 1, not {input_size}"
            )
        masks = (time_mask_prob, time_mask_length, channel_mask_prob, channel_mask_length)
        super().__init__(SpeechLMConfig.from_dict(speechlm or {}), AugmentOptions(*masks))

    def output_size(self) -> int:
        """D."""
        return self.width

    def forward(  # type: ignore[override]  # ESPnet's encoders take and give a third value
        self, xs_pad: torch.Tensor, ilens: torch.Tensor, prev_states: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """(B, S) waveforms, (B,) samples -> (B, T, D), (B,) CTC outputs, None."""
        hidden, lengths = super().forward(xs_pad, ilens)
        return hidden, lengths, None


encoder_choices.classes["speechlm"] = SpeechLMEncoder
model_choices.classes["speechlm_ctc"] = CTCModelForTraining


class Characters:
    """ESPnet's preprocessor: the transcript becomes character ids, every word ended by `|`."""

    def __init__(self) -> None:
        self.vocabulary = CharacterVocabulary()

    def __call__(self, utterance: str, data: dict[str, Any]) -> dict[str, np.ndarray]:
        """Replace `text` by (U,) int64.

        Raises:
            ValueError: it cannot be written in the vocabulary; the utterance is named.
        """
        if "text" in data:
            try:
                data["text"] = self.vocabulary.encode(data["text"])
            except ValueError as error:
                raise ValueError(f"transcript of {utterance}: {error}") from None
        return data


class SpeechLMASRTask(TrainingTask, ASRTask):
    """ESPnet's ASR task with SpeechLM's encoder and characters."""

    trainer = CTCTrainer

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """ESPnet's ASR options; their defaults become the authors' values for 100 h.

        Except for the best weights, which are those with the fewest character errors: words tell
        nothing of a training of few updates. The configurations for Base and Large take words.
        """
        super().add_task_arguments(parser)
        cls.add_common_arguments(parser)
        cls.add_size(
            parser, "the model to train from scratch; with pre-trained weights their own is used"
        )
        parser.set_defaults(
            encoder="speechlm",
            normalize=None,
            input_size=1,
            token_list=espnet_tokens(),
            token_type="char",
            model="speechlm_ctc",
            model_conf={"ctc_weight": 1.0, "report_cer": False, "report_wer": False},
            # Utterances that CTC cannot write are left out before; if one came here all the same,
            # its infinite loss stops the training and names it, which a loss of 0 would not.
            ctc_conf={"zero_infinity": False},
            optim="adam",
            optim_conf={"lr": 1e-5, "betas": [0.9, 0.98], "eps": 1e-8},
            scheduler="tristagelr",
            scheduler_conf={"final_lr_scale": 0.05},
            grad_clip=math.inf,
            batch_type="numel",
            batch_bins=1_600_000,
            keep_nbest_models=[1],
            best_model_criterion=[("valid", "cer_ctc", "min")],
        )

    @classmethod
    def build_preprocess_fn(cls, args: argparse.Namespace, train: bool) -> Callable:
        """Character ids of transcripts."""
        return Characters()


def espnet_tokens() -> list[str]:
    """The character vocabulary under ESPnet's names, by id."""
    return [ESPNET_NAMES.get(symbol, symbol) for symbol in CharacterVocabulary.symbols]
