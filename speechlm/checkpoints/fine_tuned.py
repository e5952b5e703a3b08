"""What a CTC or translation fine-tuning leaves in its folder: ESPnet's files. Needs no ESPnet.

config.yaml  `encoder_conf.speechlm`: the values of SpeechLMConfig; `encoder` is speechlm for
             CTC, whose characters are `token_list`; a translation has `decoder_conf` instead
*.pth        weights under the names of ESPnet's model
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from speechlm.checkpoints.ctc_encoder import OUTPUT_LAYER
from speechlm.checkpoints.folder_contents import contents
from speechlm.checkpoints.hub_folder import is_hub_folder
from speechlm.checkpoints.model_dir import CONFIG, changed_config, load_speechlm, load_weights
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.checkpoints.weight_checks import build_for
from speechlm.conventions import PAD
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.data.yaml_file import read_yaml
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.models.heads import HEADS
from speechlm.models.without_heads import without_heads

BEST = {
    "ctc": tuple(
        f"valid.{rate}.{which}.pth" for rate in ("wer_ctc", "cer_ctc") for which in ("ave", "best")
    ),
    "translation": ("valid.accuracy.ave.pth", "valid.accuracy.best.pth"),
}
"""Weights that a fine-tuning of each kind ends with, the preferred ones first."""
_NAMES = {
    "ctc": {"encoder.speechlm.": "", "ctc.ctc_lo.": OUTPUT_LAYER},
    "translation": {"model.speechlm.": ""},
}
"""How the names of SpeechLM's weights begin in ESPnet's files, and in the network."""

ESPNET_NAMES = {"<s>": "<blank>", "</s>": "<sos/eos>", "|": "<space>"}
"""Characters that ESPnet's tools know by another name; ids stay the same."""


@dataclass(frozen=True)
class FineTuning:
    """The folder of a fine-tuning."""

    folder: Path
    kind: str
    """`ctc` or `translation`."""
    values: Mapping[str, Any]
    """Of its config.yaml."""

    @classmethod
    def find(cls, folder: str | os.PathLike[str]) -> FineTuning | None:
        """The fine-tuning that a folder holds; None: it holds something else.

        Raises:
            ValueError: config.yaml is missing, damaged, or without the encoder's values.
        """
        if is_hub_folder(folder):
            return None
        path = Path(folder) / CONFIG
        values = read_yaml(path, f": {folder} holds no trained model (found: {contents(folder)})")
        conf = values.get("encoder_conf")
        described = isinstance(conf, dict) and isinstance(conf.get("speechlm"), dict)
        if values.get("encoder") == "speechlm":
            if not described:
                raise ValueError(f"{path}: values expected in encoder_conf.speechlm")
            return cls(Path(folder), "ctc", values)
        if described and "encoder" not in values and "decoder_conf" in values:
            return cls(Path(folder), "translation", values)
        return None

    def config(self, changes: Mapping[str, Any]) -> SpeechLMConfig:
        """The encoder's values, some of them replaced.

        Raises:
            ValueError: they are no configuration; file and value are named.
        """
        return changed_config(
            self.values["encoder_conf"]["speechlm"], changes, self.folder / CONFIG
        )

    @property
    def characters(self) -> tuple[str, ...]:
        """Symbols that the CTC head writes, by id; where config.yaml names none, the process's."""
        tokens = self.values.get("token_list")
        if self.kind != "ctc" or not isinstance(tokens, list):
            return CharacterVocabulary.symbols
        own = {espnet: symbol for symbol, espnet in ESPNET_NAMES.items()}
        return tuple(own.get(str(token), str(token)) for token in tokens)

    def check_characters(self) -> None:
        """Make sure that the CTC head writes the characters of this process.

        Raises:
            ValueError: it writes others.
        """
        CharacterVocabulary.check_same(self.characters, self.folder / CONFIG)

    def weights_file(self, name: str | None = None) -> Path:
        """The file of weights of that name; None: the first of `BEST` that is there.

        Raises:
            ValueError: none is there.
        """
        names = (name,) if name else BEST[self.kind]
        for path in (self.folder / name for name in names):
            if os.path.lexists(path):
                return path
        raise ValueError(f"{self.folder}: no {' or '.join(names)}; is the training finished?")

    def weights(self, name: str | None = None) -> dict[str, Tensor]:
        """SpeechLM's weights under the network's names; those of a translation decoder are not.

        Raises:
            ValueError: as `weights_file`, or the file is damaged.
        """
        names = _NAMES[self.kind]
        return {
            own + key[len(old) :]: value
            for key, value in load_weights_only(self.weights_file(name)).items()
            for old, own in names.items()
            if key.startswith(old)
        }

    def network(
        self, model_class: type[SpeechLM], changes: Mapping[str, Any], name: str | None = None
    ) -> SpeechLM:
        """The network with its trained weights, without what a fine-tuning does not have.

        Args:
            model_class: `SpeechLM`, or a class that builds on it.
            changes: as in `config`.
            name: as in `weights_file`.

        Raises:
            ValueError: files are missing, damaged, or do not belong together.
        """
        source = str(self.weights_file(name))
        config, weights = self.config(changes), self.weights(name)
        build = partial(model_class, config, PAD + 1, len(self.characters))
        model = build_for(build, config.speech_layers + config.shared_layers, weights, source)
        without_heads(model, keep_ctc=self.kind == "ctc")
        load_weights(model, weights, source)
        return model


def read_encoder(
    folder: str | os.PathLike[str], changes: Mapping[str, Any]
) -> tuple[SpeechLMConfig, dict[str, Tensor]]:
    """Values and weights of a trained encoder, to go on from.

    Args:
        folder: of a pre-training, an imported checkpoint, or a CTC or translation fine-tuning.
        changes: values of the config to replace.

    Raises:
        ValueError: the folder holds no finished training of a SpeechLM.
    """
    tuned = FineTuning.find(folder)
    if tuned is None:
        model = load_speechlm(folder, **changes)[0]
        config, weights = model.config, model.state_dict()
    else:
        config, weights = tuned.config(changes), tuned.weights()
    return config, {n: w for n, w in weights.items() if not n.startswith(HEADS)}
