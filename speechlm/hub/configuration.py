"""The configuration of a SpeechLM in transformers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedConfig

from speechlm.checkpoints.hub_folder import MODEL_TYPE
from speechlm.conventions import BLANK, EOS
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.models import AugmentOptions
from speechlm.models import SpeechLMConfig as NetworkConfig


class SpeechLMConfig(PreTrainedConfig):
    """What `config.json` says: the network, in the words of `models.SpeechLMConfig`, and heads.

    Args:
        speechlm: values of the network's configuration, as in a model folder's `config.yaml`; what
            is left out is Base's.
        augment: masks of the input in training, values of `AugmentOptions`; none by default.
        vocab_size: symbols that the CTC head writes, its blank among them.
        silent_ids: those of them that stand for no character, as the blank `pad_token_id` does.
        classifier_proj_size: width between the weighted sum of the layers and the classes.
        kwargs: what every configuration of transformers has, such as `num_labels`.

    Raises:
        ValueError: a value is wrong, or a name is unknown (the nearest known one is named).
    """

    model_type = MODEL_TYPE

    def __init__(
        self,
        speechlm: Mapping[str, Any] | None = None,
        augment: Mapping[str, Any] | None = None,
        vocab_size: int = CharacterVocabulary.n_ids,
        silent_ids: Sequence[int] = (),
        classifier_proj_size: int = 256,
        **kwargs: Any,
    ) -> None:
        for name, given in (("speechlm", speechlm or {}), ("augment", augment or {})):
            if not isinstance(given, Mapping):
                raise ValueError(f"{name}: values by name expected, got {given!r}")
        self.speechlm = NetworkConfig.from_dict(speechlm or {}).to_dict()
        self.augment = dict(augment or {})
        self.vocab_size, self.silent_ids = vocab_size, list(silent_ids)
        self.classifier_proj_size = classifier_proj_size
        kwargs = {"pad_token_id": BLANK, "bos_token_id": None, "eos_token_id": EOS, **kwargs}
        self._check_symbols(kwargs["pad_token_id"])
        super().__init__(**kwargs)
        self.augment_options  # noqa: B018  # its values are looked at

    def _check_symbols(self, blank: Any) -> None:
        """ValueError unless the CTC head writes symbols of which the blank and others are."""
        size, silent = self.vocab_size, self.silent_ids
        if not _is_id(size) or size < 2:
            raise ValueError(f"vocab_size: a number of 2 or more expected, got {size!r}")
        for name, ids in (("pad_token_id", [blank]), ("silent_ids", silent)):
            odd = [i for i in ids if not _is_id(i) or i >= size]
            if odd:
                raise ValueError(
                    f"{name}: ids of symbols expected, 0 to {size - 1} (vocab_size {size}), got "
                    f"{odd[0]!r}"
                )

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> SpeechLMConfig:
        """As in transformers, for a SpeechLM alone.

        Raises:
            ValueError: it is a model of another type.
        """
        found = config_dict.get("model_type", MODEL_TYPE)
        if found != MODEL_TYPE:
            raise ValueError(f"config.json: model_type {MODEL_TYPE} expected, got {found}")
        return super().from_dict(dict(config_dict), **kwargs)

    @property
    def network(self) -> NetworkConfig:
        """The network's configuration."""
        return NetworkConfig.from_dict(self.speechlm)

    @property
    def augment_options(self) -> AugmentOptions:
        """Masks of the input in training.

        Raises:
            ValueError: `augment` has other names or values.
        """
        known = [field.name for field in dataclasses.fields(AugmentOptions)]
        odd = [name for name in self.augment if name not in known]
        if odd:
            raise ValueError(f"augment: {', '.join(known)} expected, got {', '.join(odd)}")
        for name, value in self.augment.items():
            share = name.endswith("_prob")
            kinds, least, most = (int | float, 0, 1) if share else (int, 1, float("inf"))
            if (
                isinstance(value, bool)
                or not isinstance(value, kinds)
                or not least <= value <= most
            ):
                wanted = "a share from 0 to 1" if share else "a whole number of 1 or more"
                raise ValueError(f"augment: {name}: {wanted} expected, got {value!r}")
        return AugmentOptions(**self.augment)

    @property
    def hidden_size(self) -> int:
        """Width D of the hidden states."""
        return self.network.embed_dim

    @property
    def num_hidden_layers(self) -> int:
        """Layers of both Transformers."""
        return self.network.speech_layers + self.network.shared_layers

    @property
    def num_attention_heads(self) -> int:
        """Attention heads of a layer."""
        return self.network.heads

    @property
    def intermediate_size(self) -> int:
        """Inner width of the feed-forward layers."""
        return self.network.ffn_dim

    @property
    def inputs_to_logits_ratio(self) -> int:
        """Samples from one output of the CTC head to the next."""
        framing = self.network.ctc_framing
        return framing.shift // framing.parts


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
