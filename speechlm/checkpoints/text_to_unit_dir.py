"""Folders that hold a trained text-to-unit model. Needs no ESPnet.

    config.yaml        `text_to_unit`: the values of TextToUnitConfig
    model.safetensors  weights under the authors' names
    phones.txt         the phones, by label: ours, or those of the released model
    tokens.txt, frame_shift   of the hidden units

A training adds its model to the config.yaml that ESPnet has written into its folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import yaml
from safetensors import SafetensorError
from torch import Tensor

from speechlm.checkpoints.model_dir import CONFIG, WEIGHTS, load_weights, read_weights
from speechlm.checkpoints.weight_checks import build_for
from speechlm.data.archives import read_unit_info, write_unit_info
from speechlm.data.atomic import library_writes, output_file, write_text
from speechlm.data.monophones import AUTHORS_PHONES, MONOPHONES
from speechlm.data.vocabulary import N_SPECIALS, UnitVocabulary
from speechlm.data.yaml_file import read_yaml
from speechlm.models.text_to_unit import UNUSED_KEYS, TextToUnit
from speechlm.models.unit_generator import TextToUnitConfig

PHONES = "phones.txt"
KEY = "text_to_unit"


class StoredTextToUnit(NamedTuple):
    """What a folder holds."""

    model: TextToUnit
    """In evaluation mode."""
    phones: UnitVocabulary
    """What it reads: `MONOPHONES` or `AUTHORS_PHONES`."""
    units: UnitVocabulary
    """What it writes."""
    frame_shift: float
    """Seconds that a unit lasts."""


def save_text_to_unit(
    folder: str | os.PathLike[str],
    stored: StoredTextToUnit,
    unused: Mapping[str, Tensor] | None = None,
    metadata: dict[str, str] | None = None,
    **origin: Any,
) -> None:
    """Write a model; keys of a config.yaml that is there are kept, `origin` is added to them.

    Args:
        folder: where to.
        stored: model, phones, units, frame shift.
        unused: further weights by name, which an export needs.
        metadata: strings to keep in model.safetensors.
        origin: plain data about where it comes from.
    """
    path = Path(folder)
    write_unit_info(path, stored.frame_shift, stored.units.symbols, stored.units.origin)
    stored.phones.write(path / PHONES)
    state = {**stored.model.state_dict(), **(unused or {})}
    weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with output_file(path / WEIGHTS) as temporary, library_writes(path / WEIGHTS, SafetensorError):
        safetensors.torch.save_file(weights, temporary, metadata)
    values = {**_read(path), KEY: stored.model.config.to_dict(), **origin}
    write_text(path / CONFIG, yaml.safe_dump(values, sort_keys=False))


def load_text_to_unit(folder: str | os.PathLike[str]) -> StoredTextToUnit:
    """Read a model, its phones and units, and the seconds that a unit lasts.

    Raises:
        ValueError: files are missing, damaged, or do not belong together.
    """
    path = Path(folder)
    if not is_text_to_unit(path):
        raise ValueError(
            f"{path / CONFIG} with an entry `{KEY}` expected: {folder} holds no trained "
            "text-to-unit model (train_text_to_unit makes one)"
        )
    found = UnitVocabulary.read(path / PHONES)
    # Not by their number: another language may have as many phones as the authors.
    phones = AUTHORS_PHONES if found.symbols == AUTHORS_PHONES.symbols else MONOPHONES
    found.check_same(phones)
    frame_shift, units = read_unit_info(path)
    config = TextToUnitConfig.from_dict(_read(path)[KEY])
    weights = read_weights(path)[0].items()
    own = {name: weight for name, weight in weights if not name.startswith(UNUSED_KEYS)}
    build = partial(TextToUnit, config, N_SPECIALS + len(phones), len(units))
    layers = config.encoder_layers + config.decoder_layers
    model = build_for(build, layers, own, str(path / WEIGHTS))
    load_weights(model, own, str(path / WEIGHTS))
    return StoredTextToUnit(model.eval(), phones, units, frame_shift)


def is_text_to_unit(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder's config.yaml is that of a trained text-to-unit model."""
    return isinstance(_read(Path(folder)).get(KEY), dict)


def _read(folder: Path) -> dict[str, Any]:
    return read_yaml(folder / CONFIG) if os.path.lexists(folder / CONFIG) else {}
