"""SpeechLM as models of transformers, around the network of `speechlm.models`.

B batch, S samples (16 kHz), T frames, N CTC outputs a frame, D model width, L layers, U labels of
an utterance, V symbols, K classes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, initialization
from transformers.modeling_outputs import (
    BaseModelOutput,
    CausalLMOutput,
    ModelOutput,
    SequenceClassifierOutput,
)

from speechlm.conventions import PAD
from speechlm.hub.checks import IGNORED, check_files, check_ids, valid_samples
from speechlm.hub.configuration import SpeechLMConfig
from speechlm.models import SpeechLM
from speechlm.models.ctc_head import CTCHead
from speechlm.models.heads import HEADS, PARTS, PREDICTIONS
from speechlm.models.inputs import check_speech
from speechlm.models.log_mel import LogMel
from speechlm.models.outputs import Encoded
from speechlm.models.without_heads import without_heads

NETWORK = "network"
"""Name of the network in every class, so that each opens what another has saved."""


def _patterns(names: tuple[str, ...]) -> list[str]:
    """Weights whose names begin so in the network, as the patterns that transformers takes."""
    return [rf"{NETWORK}\.{name}".replace("list.", r"list\.") for name in names]


class SpeechLMPreTrainedModel(PreTrainedModel):
    """What all of them have in common.

    Args:
        config: of the model.
        for_task: an utterance alone and in a padded batch are to agree, whatever the network's
            `ignore_padding` says.
        keep_ctc: keep the CTC head.
    """

    config_class = SpeechLMConfig
    config: SpeechLMConfig
    base_model_prefix = NETWORK
    main_input_name = "input_values"
    input_modalities = "audio"

    def __init__(
        self, config: SpeechLMConfig, for_task: bool = False, keep_ctc: bool = False
    ) -> None:
        super().__init__(config)
        values = config.network
        if for_task:
            values = dataclasses.replace(values, ignore_padding=True)
        network = SpeechLM(values, n_units=PAD + 1, n_characters=config.vocab_size)
        self.network = without_heads(network, keep_ctc)
        self.network.mask_emb.requires_grad_(config.augment_options.time_prob > 0.0)
        if not self.network.mask_emb.is_meta:  # it has initialized itself
            for module in self.network.modules():
                module._is_hf_initialized = True  # type: ignore[assignment]

    @classmethod
    def from_pretrained(  # type: ignore[override]  # its own options go through
        cls, name: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """As in transformers, from safetensors alone, and with all weights of the encoder.

        A head that is not there starts at random, with a warning of transformers.

        Raises:
            ValueError: weights of the encoder are missing, damaged or of another shape; it is a
                model of another type.
            OSError: there is no such model, or none in safetensors.
        """
        kwargs["use_safetensors"] = True
        wants_info = kwargs.pop("output_loading_info", False)
        check_files(name)
        try:
            loaded: Any = super().from_pretrained(name, *args, output_loading_info=True, **kwargs)
        except RuntimeError as error:  # transformers has listed the weights in the log
            raise ValueError(f"{name}: weights do not fit config.json: {error}") from None
        model, info = loaded
        absent = sorted(
            weight
            for weight in info["missing_keys"]
            if f"{NETWORK}." in weight and f"{NETWORK}.{PARTS['characters'][0]}" not in weight
        )
        if absent:  # transformers has filled them with whatever was in memory
            raise ValueError(
                f"{name}: {len(absent)} weights of the encoder are missing: "
                f"{', '.join(absent[:5])}; export or copy the model again"
            )
        with torch.device("meta"):  # transformers gives a gradient to all that it reads
            built = cls(model.config)
        for weight, as_built in zip(model.parameters(), built.parameters(), strict=True):
            weight.requires_grad_(as_built.requires_grad)
        return (model, info) if wants_info else model

    def _init_weights(self, module: nn.Module) -> None:
        """Values of what no file has; those that a file has given are left alone by transformers.

        The network initializes itself, but for what is made on the meta device and not stored.
        """
        network = self.config.network
        if isinstance(module, LogMel):
            with torch.device("cpu"):
                constants = LogMel(network.mel_channels)
            for name, value in constants.named_buffers():
                initialization.copy_(module.get_buffer(name), value)
        elif isinstance(module, CTCHead):
            with torch.device("cpu"):
                sizes = (network.embed_dim, self.config.vocab_size)
                head = CTCHead(*sizes, network.ctc_dropout, network.ctc_outputs)
            for name, weight in head.named_parameters():
                initialization.copy_(module.get_parameter(name), weight)
        elif isinstance(module, nn.Linear):
            module.reset_parameters()

    def freeze_feature_encoder(self) -> None:
        """No gradient for the front end, which turns waveforms into features."""
        self.network.feature_extractor.requires_grad_(False)

    def encode(self, input_values: Tensor, attention_mask: Tensor | None) -> Encoded:
        """(B, S), (B, S) -> hidden states; the input is masked in training if `augment` says so.

        Raises:
            ValueError: as `forward`.
        """
        network = self.network
        lengths = valid_samples(input_values, attention_mask)
        if not torch.compiler.is_compiling():  # nothing in a graph depends on values
            like = network.mask_emb.float() if network.config.is_fast else network.mask_emb
            input_values, lengths = check_speech(input_values, lengths, network.framing, like)
        augment = self.config.augment_options if self.training else None
        return network.encode(input_values, lengths, augment)

    def _layers(self, encoded: Encoded, asked: bool | None) -> tuple[Tensor, ...] | None:
        wanted = self.config.output_hidden_states if asked is None else asked
        return tuple(encoded.layers) if wanted else None


class SpeechLMModel(SpeechLMPreTrainedModel):
    """The encoder: waveforms to hidden states."""

    _keys_to_ignore_on_load_unexpected = _patterns(HEADS)

    def __init__(self, config: SpeechLMConfig) -> None:
        super().__init__(config)
        self.post_init()

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Hidden states of speech.

        Args:
            input_values: (B, S) float, 16 kHz, right-padded with zeros, as the feature extractor
                of the model's folder gives it.
            attention_mask: (B, S), 1 on samples and 0 on padding; None: nothing is padding.
            output_hidden_states: whether to give the L layers (B, T, D), without final norms; the
                first is the output of layer 1, not the layer's input.
            return_dict: False gives a tuple.

        Returns:
            `BaseModelOutput` with `last_hidden_state` (B, T, D).

        Raises:
            ValueError: a shape or type is wrong, padding is not at the end, or an utterance is
                shorter than a frame.
        """
        encoded = self.encode(input_values, attention_mask)
        output = BaseModelOutput(encoded.features, self._layers(encoded, output_hidden_states))
        return as_asked(output, self.config, return_dict)


class SpeechLMForCTC(SpeechLMPreTrainedModel):
    """A speech recogniser: waveforms to scores of characters, of which the tokenizer makes text."""

    _keys_to_ignore_on_load_unexpected = _patterns(PREDICTIONS)

    def __init__(self, config: SpeechLMConfig) -> None:
        super().__init__(config, for_task=True, keep_ctc=True)
        self.post_init()

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Scores of characters, N a frame, and the CTC loss if there are labels.

        Args:
            input_values: as in `SpeechLMModel`.
            attention_mask: as in `SpeechLMModel`.
            labels: (B, U) ids, right-padded with -100.
            output_hidden_states: as in `SpeechLMModel`.
            return_dict: as in `SpeechLMModel`.

        Returns:
            `CausalLMOutput` with `logits` (B, T N, V), in which padded frames are blank and symbols
            that stand for no character count as the blank, and with `loss` (), the mean over the
            utterances; one with more labels than CTC can write in its frames adds 0.

        Raises:
            ValueError: as in `SpeechLMModel`; labels are no symbols.
        """
        encoded = self.encode(input_values, attention_mask)
        outputs = self.config.network.ctc_outputs
        # The head's convolution gives the outputs of one more frame, which sees padding.
        scores = self.network.ctc_logits(encoded)[:, : encoded.features.shape[1] * outputs]
        lengths = encoded.lengths * outputs
        loss = None if labels is None else self._loss(scores, lengths, labels)
        logits = self._written(scores, lengths)
        layers = self._layers(encoded, output_hidden_states)
        return as_asked(CausalLMOutput(loss, logits, layers), self.config, return_dict)

    def freeze_base_model(self) -> None:
        """No gradient but for the CTC head."""
        self.network.requires_grad_(False)
        self.network.unit_encoder_ctc_head.requires_grad_(True)  # type: ignore[union-attr]

    def _loss(self, scores: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """CTC of labels (B, U) by scores (B, T N, V), of which lengths (B,) count."""
        if labels.dim() != 2 or len(labels) != len(scores):
            raise ValueError(
                f"labels: ids of shape ({len(scores)}, longest) expected, got {tuple(labels.shape)}"
            )
        if not torch.compiler.is_compiling():
            there = labels.masked_fill(labels < 0, IGNORED)
            check_ids(there, self.config.vocab_size, "vocab_size", "the tokenizer of its folder")
        there = labels >= 0
        log_probs = scores.float().log_softmax(-1).transpose(0, 1)
        blank = self.config.pad_token_id
        total = F.ctc_loss(
            log_probs,
            labels.clamp(min=0),
            lengths,
            there.sum(1),
            blank=blank,
            reduction="sum",
            zero_infinity=True,
        )
        return total / len(labels)

    def _written(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """Scores (B, T N, V) whose best symbols, repeats and blanks removed, are the text.

        Symbols for no character (`silent_ids`) are left out by this toolkit's decoder where they
        are best, and so is padding; a tokenizer of transformers would write the first, and reads
        the second, too. Both become the blank here.
        """
        lowest = torch.finfo(scores.dtype).min
        symbols = torch.arange(scores.shape[2], device=scores.device)
        blank = symbols == self.config.pad_token_id
        if self.config.silent_ids:
            silent = (symbols[:, None] == symbols.new_tensor(self.config.silent_ids)).any(1)
            best = scores.masked_fill(~(silent | blank), lowest).amax(2, keepdim=True)
            scores = torch.where(blank, best, scores.masked_fill(silent, lowest))
        padding = torch.arange(scores.shape[1], device=scores.device) >= lengths[:, None]
        return scores.masked_fill(padding[..., None] & ~blank, lowest)


class SpeechLMForSequenceClassification(SpeechLMPreTrainedModel):
    """A class for each utterance: weighted sum of layers, projection, mean over time, classes.

    Source: Yang et al. 2021, SUPERB, the head of keyword spotting and speaker identification.
    """

    _keys_to_ignore_on_load_unexpected = _patterns(HEADS)

    def __init__(self, config: SpeechLMConfig) -> None:
        super().__init__(config, for_task=True)
        self.layer_weights = nn.Parameter(torch.zeros(config.num_hidden_layers))
        self.projector = nn.Linear(config.hidden_size, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, len(config.id2label or ()))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if module is self:
            initialization.zeros_(self.layer_weights)
        super()._init_weights(module)

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Scores of classes, and the cross entropy if there are labels.

        Args:
            input_values: as in `SpeechLMModel`.
            attention_mask: as in `SpeechLMModel`.
            labels: (B,) classes.
            output_hidden_states: as in `SpeechLMModel`.
            return_dict: as in `SpeechLMModel`.

        Returns:
            `SequenceClassifierOutput` with `logits` (B, K) and `loss` (), the mean.

        Raises:
            ValueError: as in `SpeechLMModel`; labels are no classes.
        """
        encoded = self.encode(input_values, attention_mask)
        # sum_l softmax(w)_l h_l over the L layers: (B, T, D)
        shares = self.layer_weights.softmax(0).to(encoded.features.dtype)
        mixed = torch.stack(encoded.layers, -1) @ shares
        valid = torch.arange(mixed.shape[1], device=mixed.device) < encoded.lengths[:, None]
        projected = self.projector(mixed).masked_fill(~valid[..., None], 0.0)
        logits = self.classifier(projected.sum(1) / encoded.lengths[:, None])
        if labels is not None and not torch.compiler.is_compiling():
            if labels.shape != logits.shape[:1]:
                raise ValueError(
                    f"labels: a class of each of {len(logits)} utterances expected, got shape "
                    f"{tuple(labels.shape)}"
                )
            check_ids(labels, logits.shape[1], "num_labels", "label2id of the configuration")
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        layers = self._layers(encoded, output_hidden_states)
        return as_asked(SequenceClassifierOutput(loss, logits, layers), self.config, return_dict)

    def freeze_base_model(self) -> None:
        """No gradient but for the weights of the layers and what follows them (SUPERB's rule)."""
        self.network.requires_grad_(False)


def as_asked(output: ModelOutput, config: SpeechLMConfig, return_dict: bool | None) -> Any:
    """The output, or its values that are there as a tuple, as the caller or `config` says."""
    wanted = config.return_dict if return_dict is None else return_dict
    return output if wanted else output.to_tuple()
