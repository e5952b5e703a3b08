"""Folders that hold a trained SpeechLM, pre-trained here or imported.

    config.yaml        `speechlm`: the values of SpeechLMConfig; `kind`: pretrained, ctc or
                       translation; `without`: parts whose weights are not there;
                       `translation_decoder`: the values of TranslationDecoderConfig
    model.safetensors  weights under the authors' names; a translation decoder's begin `decoder.`
    tokens.txt         units, by label; not there without unit embeddings
    characters.txt     rows of the CTC head by id; not there without CTC head
    target_tokens.txt  rows of the translation decoder by id

A pre-training adds its model to the config.yaml that ESPnet has written into its folder. A SpeechLM
in a folder of transformers (`hub_folder`) is read by the same functions.
Reads and writes plain data only; needs no ESPnet.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from speechlm.checkpoints.folder_contents import contents
from speechlm.checkpoints.hub_folder import (
    HUB_CHARACTERS,
    HUB_CONFIG,
    is_hub_folder,
    is_hub_speechlm,
    read_hub_folder,
    read_hub_weights,
)
from speechlm.checkpoints.weight_checks import build_for, check_names, check_numbers, check_table
from speechlm.conventions import PAD
from speechlm.data.atomic import library_writes, output_file, write_text
from speechlm.data.vocabulary import CharacterVocabulary, UnitVocabulary, write_tokens
from speechlm.data.whole_files import read_lines, reading
from speechlm.data.yaml_file import read_yaml
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.models.config import OtherArchitecture
from speechlm.models.heads import PARTS, weights_of
from speechlm.models.translation_decoder import TranslationDecoder, TranslationDecoderConfig

SIZES: dict[str, Callable[..., SpeechLMConfig]] = {
    "base": SpeechLMConfig.base,
    "large": SpeechLMConfig.large,
    "tiny": SpeechLMConfig.tiny,
    "fast_base": SpeechLMConfig.fast_base,
    "fast_large": SpeechLMConfig.fast_large,
    "fast_tiny": SpeechLMConfig.fast_tiny,
}
"""Models that a YAML's `config_size` names."""
CONFIG, WEIGHTS = "config.yaml", "model.safetensors"
TOKENS, CHARACTERS, TARGETS = "tokens.txt", "characters.txt", "target_tokens.txt"
DECODER = "decoder."
"""How the names of a translation decoder's weights begin."""
KINDS = ("pretrained", "ctc", "translation")


@dataclasses.dataclass
class Description:
    """What a model folder says of its model."""

    config: SpeechLMConfig
    kind: str = "pretrained"
    units: UnitVocabulary | None = None
    """None: the model has no unit embeddings."""
    characters: Sequence[str] | None = None
    """Symbols by id; None: the model has no CTC head."""
    decoder: TranslationDecoderConfig | None = None
    targets: Sequence[str] | None = None
    """The translation decoder's symbols by id, if they are known."""

    @property
    def without(self) -> list[str]:
        """The parts that are not there."""
        present = {"units": self.units, "characters": self.characters}
        return [part for part in PARTS if present[part] is None]

    def build(self, model_class: type[SpeechLM] = SpeechLM) -> SpeechLM:
        """The network with random weights, absent parts included."""
        n_units = PAD + 1 if self.units is None else self.units.n_ids
        n_characters = len(self.characters or CharacterVocabulary.symbols)
        return model_class(self.config, n_units, n_characters)


def is_speechlm(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a SpeechLM, and not another model of Hugging Face's (config.json).

    Raises:
        ValueError: config.json is damaged.
    """
    path = Path(folder)
    ours = (path / CONFIG).is_file() and not (path / HUB_CONFIG).is_file()
    return ours or is_hub_speechlm(folder)


def save_model(
    folder: str | os.PathLike[str],
    description: Description,
    weights: dict[str, Tensor],
    metadata: dict[str, str] | None = None,
    **origin: Any,
) -> None:
    """Write a model; `origin` is plain data about where it comes from. config.yaml comes last.

    Args:
        folder: where to; keys of a config.yaml that is there are kept.
        description: everything but the weights.
        weights: by name; a tensor that occurs under two names is stored once.
        metadata: strings to keep in model.safetensors.
    """
    path = Path(folder)
    if description.units is not None:
        description.units.write(path / TOKENS)
    for name, symbols in ((CHARACTERS, description.characters), (TARGETS, description.targets)):
        if symbols is not None:
            write_tokens(path / name, symbols)
    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in weights.items():
        if value.data_ptr() not in seen or value.numel() == 0:
            stored[name] = value.detach().cpu().contiguous()
            seen.add(value.data_ptr())
    with output_file(path / WEIGHTS) as temporary, library_writes(path / WEIGHTS, SafetensorError):
        safetensors.torch.save_file(stored, temporary, metadata)
    old = read_yaml(path / CONFIG) if (path / CONFIG).is_file() else {}
    values = {**old, "speechlm": description.config.to_dict(), "kind": description.kind}
    values["without"] = description.without
    if description.decoder is not None:
        values["translation_decoder"] = dataclasses.asdict(description.decoder)
    write_text(path / CONFIG, yaml.safe_dump({**values, **origin}, sort_keys=False))


def save_speechlm(
    folder: str | os.PathLike[str],
    config: SpeechLMConfig,
    vocabulary: UnitVocabulary,
    weights: dict[str, Tensor],
    **origin: Any,
) -> None:
    """Write a model pre-trained here; arguments as in `save_model`."""
    description = Description(config, "pretrained", vocabulary, CharacterVocabulary.symbols)
    save_model(folder, description, weights, **origin)


def load_speechlm(
    folder: str | os.PathLike[str], model_class: type[SpeechLM] = SpeechLM, **changes: Any
) -> tuple[SpeechLM, UnitVocabulary | None]:
    """Read a model and its units; `changes` replace values of its config.

    Parts that are not in the folder keep their random initial values; the log says which. Units
    are None if they are such a part.

    Raises:
        ValueError: files are missing, damaged, or do not belong together.
    """
    description = read_description(folder, **changes)
    weights, _ = read_weights(folder)
    source = str(Path(folder) / WEIGHTS)
    own = outline(description, len(weights), source)  # before memory is taken for wrong sizes
    shapes = {n: (w.shape, own[n].shape) for n, w in weights.items() if n in own}
    check_names([], [], shapes, source)
    model = description.build(model_class)
    if description.without:
        what = " and ".join(description.without)
        logging.info("%s has no weights for %s: they start at random", folder, what)
    own = {n: w for n, w in weights.items() if not n.startswith(DECODER)}
    absent = weights_of(description.without)
    load_weights(model, own, source, absent)
    return model, description.units


def load_translation(
    folder: str | os.PathLike[str],
) -> tuple[SpeechLM, TranslationDecoder, Sequence[str] | None]:
    """Encoder, decoder and target symbols (if known) of a translation model's folder.

    Raises:
        ValueError: as `load_speechlm`, or the folder holds a model of another kind.
    """
    description = read_description(folder)
    if description.decoder is None:
        raise ValueError(f"{folder} holds a model of kind {description.kind}, not translation")
    source = str(Path(folder) / WEIGHTS)
    weights = {
        name.removeprefix(DECODER): weight
        for name, weight in read_weights(folder)[0].items()
        if name.startswith(DECODER)
    }
    table = check_table(weights.get("embed_tokens.weight"), source)
    if description.targets is not None and len(description.targets) != len(table):
        raise ValueError(
            f"{Path(folder) / TARGETS} has {len(description.targets)} symbols, the decoder of "
            f"{source} has {len(table)}"
        )
    build = partial(TranslationDecoder, description.decoder, len(table))
    decoder = build_for(build, description.decoder.layers, weights, source)
    load_weights(decoder, weights, source)
    return load_speechlm(folder)[0], decoder, description.targets


def load_config(
    folder: str | os.PathLike[str], **changes: Any
) -> tuple[SpeechLMConfig, UnitVocabulary | None]:
    """Config and units of a model folder.

    Raises:
        ValueError: as `load_speechlm`.
    """
    description = read_description(folder, **changes)
    return description.config, description.units


def read_description(folder: str | os.PathLike[str], **changes: Any) -> Description:
    """What the folder says of its model; `changes` as in `load_speechlm`.

    Raises:
        ValueError: as `load_speechlm`.
    """
    if is_hub_folder(folder):
        hub = read_hub_folder(folder)
        config = changed_config(hub.values, changes, Path(folder) / HUB_CONFIG)
        return Description(config, hub.kind, hub.units, hub.characters)
    path, held = Path(folder) / CONFIG, contents(folder)
    values = read_yaml(path, f": {folder} holds no trained model (found: {held})")
    if not isinstance(values.get("speechlm"), dict):
        found = f"no finished training of a SpeechLM (found: {held})"
        if "speechlm" in (values.get("encoder_conf") or {}):
            found = "a fine-tuning, whose beginning is `pretrained` in config.yaml"
        raise ValueError(f"{path} has no entry `speechlm`: {folder} holds {found}")
    kind, without = values.get("kind"), values.get("without")
    if kind not in KINDS or not isinstance(without, list):
        raise ValueError(f"{path}: kind {kind!r}, without {without!r} is no model of {KINDS}")
    decoder = values.get("translation_decoder")
    return Description(
        changed_config(values["speechlm"], changes, path),
        kind,
        None if "units" in without else UnitVocabulary.read(_there(folder, TOKENS)),
        None if "characters" in without else read_symbols(_there(folder, CHARACTERS)),
        None if decoder is None else _decoder_config(decoder, path),
        read_symbols(Path(folder) / TARGETS) if (Path(folder) / TARGETS).is_file() else None,
    )


def check_characters(folder: str | os.PathLike[str]) -> None:
    """Make sure that the model's CTC head, if it has one, writes `CharacterVocabulary`.

    Raises:
        ValueError: it writes other symbols.
    """
    symbols = read_description(folder).characters
    if symbols is not None:
        name = HUB_CHARACTERS if is_hub_folder(folder) else CHARACTERS
        CharacterVocabulary.check_same(symbols, Path(folder) / name)


def read_weights(folder: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights and metadata strings of a model folder.

    Raises:
        ValueError: missing or damaged.
    """
    if is_hub_folder(folder):
        return read_hub_weights(folder)
    path = Path(folder) / WEIGHTS
    with reading(path, "weights", "copy or train it again"), safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def read_symbols(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """One symbol a line, the line number from 0 is the id.

    Raises:
        ValueError: the file is missing, damaged, or of other lines.
    """
    symbols = read_lines(path, "symbols")
    if "" in symbols or len(set(symbols)) != len(symbols):
        raise ValueError(f"{path}: one symbol a line expected, none of them twice")
    return tuple(symbols)


def load_weights(
    model: nn.Module, weights: dict[str, Tensor], source: str, absent: Sequence[str] = ()
) -> None:
    """Put weights into a model.

    Every one of the model's must be there, finite and of its shape, but for those whose names begin
    as one of `absent` does.
    """
    own = model.state_dict()
    pointers: dict[int, str] = {}
    twins = {n: pointers.setdefault(v.data_ptr(), n) for n, v in own.items() if v.numel()}
    missing = [
        name
        for name in own
        if not (name in weights or twins.get(name) in weights or name.startswith(tuple(absent)))
    ]
    check_names(
        missing,
        [name for name in weights if name not in own],
        {n: (w.shape, own[n].shape) for n, w in weights.items() if n in own},
        source,
    )
    check_numbers(weights, source)
    model.load_state_dict(weights, strict=False)


def outline(
    description: Description, n_weights: int, source: str, rows: int | None = None
) -> dict[str, Tensor]:
    """The weights of a description's network by name, without memory.

    Args:
        description: of the model.
        n_weights: how many are there; more layers than that are refused.
        source: the file, for messages.
        rows: symbols of the translation decoder, whose weights come too; None: without it.

    Raises:
        ValueError: no network has these sizes, or the file has not so many layers.
    """
    decoder = description.decoder if rows is not None else None
    layers = description.config.speech_layers + description.config.shared_layers
    layers += decoder.layers if decoder is not None else 0
    if layers > n_weights:
        raise ValueError(f"{source}: its configuration has {layers} layers, its weights are fewer")
    try:
        with torch.device("meta"):
            own = description.build().state_dict()
            if decoder is not None and rows is not None:
                state = TranslationDecoder(decoder, rows).state_dict()
                own |= {DECODER + name: value for name, value in state.items()}
    except (RuntimeError, TypeError, OverflowError) as error:  # sizes beyond 64 bits
        reason = str(error).splitlines()[0]
        raise ValueError(f"{source}: no network has its configuration ({reason})") from None
    return own


def changed_config(
    values: Any, changes: Mapping[str, Any], path: str | os.PathLike[str]
) -> SpeechLMConfig:
    """The values of a file, with changes.

    Raises:
        ValueError: they are no configuration, or the changes are for another model; the file and
            the option are named.
    """
    try:
        config = SpeechLMConfig.from_dict(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no SpeechLM's configuration: {error}") from None
    try:
        return SpeechLMConfig.from_dict({**values, **changes})
    except OtherArchitecture as error:
        raise ValueError(
            f"{error}. The model of {path} is of architecture {config.architecture}, whatever "
            f"config_size is, and the changes {dict(changes)} do not fit it; in a fine-tuning they "
            "are encoder_conf.speechlm of --config: give one for such models"
        ) from None
    except (ValueError, TypeError) as error:  # wrong for any model
        changed = f"{path} with {dict(changes)}"
        raise ValueError(f"{changed} is no SpeechLM's configuration: {error}") from None


def _decoder_config(values: Any, path: Path) -> TranslationDecoderConfig:
    try:
        return TranslationDecoderConfig(**values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: translation_decoder is none: {error}") from None


def _there(folder: str | os.PathLike[str], name: str) -> Path:
    path = Path(folder) / name
    if not path.is_file():
        raise ValueError(f"{path} expected, but it is not there")
    return path
