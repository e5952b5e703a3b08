"""Folders that hold a trained SpeechLM: `model.yaml`, `model.safetensors`, `tokens.txt`.

Reads and writes plain data only; needs no ESPnet.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import yaml
from safetensors import SafetensorError
from torch import Tensor

from speechlm.data.atomic import output_file
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.tokenizers.vocabulary import CharacterVocabulary, UnitVocabulary

SIZES: dict[str, Callable[..., SpeechLMConfig]] = {
    "base": SpeechLMConfig.base,
    "large": SpeechLMConfig.large,
    "tiny": SpeechLMConfig.tiny,
}
"""Models that a YAML's `config_size` names."""
CONFIG, WEIGHTS, TOKENS = "model.yaml", "model.safetensors", "tokens.txt"


def save_speechlm(
    folder: str | os.PathLike[str],
    config: SpeechLMConfig,
    vocabulary: UnitVocabulary,
    weights: dict[str, Tensor],
    **origin: Any,
) -> None:
    """Write a model; `origin` is plain data about where it comes from. model.yaml comes last.

    weights: as in `SpeechLM.state_dict()`; a tensor that occurs under two names is stored once.
    """
    path = Path(folder)
    vocabulary.write(path / TOKENS)
    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in weights.items():
        if value.data_ptr() not in seen or value.numel() == 0:
            stored[name] = value.detach().cpu().contiguous()
            seen.add(value.data_ptr())
    with output_file(path / WEIGHTS) as temporary:
        safetensors.torch.save_file(stored, temporary)
    values = {"speechlm": config.to_dict(), "n_characters": CharacterVocabulary.n_ids, **origin}
    with output_file(path / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def load_speechlm(
    folder: str | os.PathLike[str], **changes: Any
) -> tuple[SpeechLM, UnitVocabulary]:
    """Read a model written by `save_speechlm`; `changes` replace values of its config.

    Raises:
        ValueError: files are missing, damaged, or do not belong together.
    """
    config, vocabulary = load_config(folder, **changes)
    path = Path(folder) / WEIGHTS
    model = SpeechLM(config, vocabulary.n_ids, CharacterVocabulary.n_ids)
    try:
        weights = safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path} expected, but it is not there") from None
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); copy or train it again") from None
    load_weights(model, weights, str(path))
    return model, vocabulary


def load_config(
    folder: str | os.PathLike[str], **changes: Any
) -> tuple[SpeechLMConfig, UnitVocabulary]:
    """Config and units of a model folder. ValueError as in `load_speechlm`."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise ValueError(
            f"{path} expected, but it is not there: {folder} holds no finished pre-training"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = SpeechLMConfig.from_dict({**values["speechlm"], **changes})
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a model's description ({error!r})") from None
    return config, UnitVocabulary.read(Path(folder) / TOKENS)


def load_weights(model: SpeechLM, weights: dict[str, Tensor], source: str) -> None:
    """Put weights into a model; every one of the model's must be there and have its shape."""
    own = model.state_dict()
    pointers: dict[int, str] = {}
    twins = {n: pointers.setdefault(v.data_ptr(), n) for n, v in own.items() if v.numel()}
    missing = [n for n in own if n not in weights and twins.get(n) not in weights]
    unknown = [n for n in weights if n not in own]
    shapes = [n for n in weights if n in own and weights[n].shape != own[n].shape]
    if missing or unknown or shapes:
        parts = zip(("missing", "not of this model", "of another shape"),
                    (missing, unknown, shapes), strict=True)  # fmt: skip
        what = "; ".join(f"{len(n)} {w}: {', '.join(n[:3])}" for w, n in parts if n)
        raise ValueError(f"{source} does not fit the model ({what})")
    model.load_state_dict(weights, strict=False)
