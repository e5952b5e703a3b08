"""A trained SpeechLM as a frontend or an encoder of ESPnet's own recipes.

Importing this module makes two names known to ESPnet's ASR task (and to what builds on it):

    frontend: speechlm                 encoder: speechlm_pretrained
    frontend_conf:                     encoder_conf:
        model: exp/pretrain                model: exp/pretrain
        layer: last                    input_size: 1

`python -m speechlm.bin.espnet asr_train --config FILE ...` imports it and starts ESPnet's program.
Data paths may then be of the type `data_dir` (see speechlm/tasks/audio_loader.py).
ESPnet's `freeze_param: [frontend]` keeps the weights as they are; without it they are trained.

Both give the model's frames: 50 a second, or 25 of a fast model of 40 ms, in which CTC can write
characters of most speech, but not of all; `speechlm.tasks.asr` has a head with two outputs a frame.

B batch, S samples (16 kHz), T frames, D model width.
"""

from __future__ import annotations

from typing import Any

from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from torch import Tensor

from speechlm.checkpoints.pretrained import open_network
from speechlm.decode.extract import check_layer
from speechlm.models import AugmentOptions, SpeechLM
from speechlm.models.without_heads import without_heads
from speechlm.tasks import audio_loader  # noqa: F401  # makes the type data_dir known
from speechlm.tasks.espnet_import import transformers_later

with transformers_later():
    from espnet2.tasks.asr import encoder_choices, frontend_choices


class SpeechLMFrontend(AbsFrontend):
    """Features of one layer.

    Args:
        model: folder of a trained model.
        layer: "last", or the number of a Transformer layer, from 1.
        changes: values of `SpeechLMConfig` to replace, e.g. dropouts. `ignore_padding` is on
            unless it says otherwise, so that an utterance's features do not depend on its batch.
    """

    def __init__(
        self, model: str, layer: str | int = "last", changes: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.speechlm = _encoder_of(model, changes)
        self.layer = check_layer(layer, self.speechlm.config)
        self._folder = model

    def output_size(self) -> int:
        """D."""
        return self.speechlm.config.embed_dim

    def forward(self, input: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S) waveforms, (B,) samples -> (B, T, D), (B,) frames."""
        encoded = self.speechlm.encode(input, input_lengths)
        features = encoded.features if self.layer == "last" else encoded.layers[int(self.layer) - 1]
        return features, encoded.lengths

    def reload_pretrained_parameters(self) -> None:
        """ESPnet calls this after it has given all weights random values (its option `init`)."""
        self.speechlm.load_state_dict(_encoder_of(self._folder, None).state_dict())


class PretrainedSpeechLMEncoder(AbsEncoder):
    """The whole model as the encoder of waveforms, with the masks of fine-tuning.

    Args:
        input_size: ESPnet's; the waveform has 1 value a sample.
        model, changes: as for the frontend.
        time_mask_prob, time_mask_length: spans of frames that become the mask embedding.
        channel_mask_prob, channel_mask_length: spans of channels that become zero.
    """

    def __init__(
        self,
        input_size: int,
        model: str,
        changes: dict[str, Any] | None = None,
        time_mask_prob: float = 0.0,
        time_mask_length: int = 10,
        channel_mask_prob: float = 0.0,
        channel_mask_length: int = 64,
    ) -> None:
        super().__init__()
        if input_size != 1:
            raise ValueError(
                f"the SpeechLM encoder reads waveforms: input_size 1, not {input_size}"
            )
        self.speechlm = _encoder_of(model, changes)
        self.augment = AugmentOptions(
            time_mask_prob, time_mask_length, channel_mask_prob, channel_mask_length
        )
        self.speechlm.mask_emb.requires_grad_(time_mask_prob > 0.0)
        self._folder = model

    def output_size(self) -> int:
        """D."""
        return self.speechlm.config.embed_dim

    def forward(
        self, xs_pad: Tensor, ilens: Tensor, prev_states: Any = None
    ) -> tuple[Tensor, Tensor, None]:
        """(B, S) waveforms, (B,) samples -> (B, T, D), (B,) frames, None."""
        encoded = self.speechlm.encode(xs_pad, ilens, self.augment if self.training else None)
        return encoded.features, encoded.lengths, None

    def reload_pretrained_parameters(self) -> None:
        """As in the frontend."""
        self.speechlm.load_state_dict(_encoder_of(self._folder, None).state_dict())


def _encoder_of(folder: str, changes: dict[str, Any] | None) -> SpeechLM:
    """The model without what only pre-training and its CTC head use."""
    if not isinstance(folder, str) or not folder:
        raise ValueError(f"model: the folder of a trained model expected, got {folder!r}")
    if not isinstance(changes or {}, dict):
        raise ValueError(f"changes: `option: value` lines expected, got {changes!r}")
    model = open_network(folder, {"ignore_padding": True, **(changes or {})})[0]
    model.mask_emb.requires_grad_(False)
    return without_heads(model)


frontend_choices.classes["speechlm"] = SpeechLMFrontend
encoder_choices.classes["speechlm_pretrained"] = PretrainedSpeechLMEncoder
