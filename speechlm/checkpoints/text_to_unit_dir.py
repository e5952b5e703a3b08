"""Folders that hold a trained text-to-unit model. Needs no ESPnet.

    config.yaml        `text_to_unit`: the values of TextToUnitConfig
    model.safetensors  weights under the authors' names
    phones.txt         the phones, by label
    tokens.txt, frame_shift   of the hidden units

A training adds its model to the config.yaml that ESPnet has written into its folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import safetensors.torch
import yaml
from safetensors import SafetensorError

from speechlm.checkpoints.model_dir import CONFIG, WEIGHTS, load_weights, read_weights
from speechlm.data.archives import read_unit_info, write_unit_info
from speechlm.data.atomic import library_writes, output_file, write_text
from speechlm.data.monophones import MONOPHONES, N_PHONES
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.data.yaml_file import read_yaml
from speechlm.models.text_to_unit import TextToUnit
from speechlm.models.unit_generator import TextToUnitConfig

PHONES = "phones.txt"
KEY = "text_to_unit"


def save_text_to_unit(
    folder: str | os.PathLike[str],
    model: TextToUnit,
    units: UnitVocabulary,
    frame_shift: float,
    **origin: Any,
) -> None:
    """Write a model; keys of a config.yaml that is there are kept, `origin` is added to them."""
    path = Path(folder)
    write_unit_info(path, frame_shift, units.symbols, units.origin)
    MONOPHONES.write(path / PHONES)
    state = model.state_dict()
    weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with output_file(path / WEIGHTS) as temporary, library_writes(path / WEIGHTS, SafetensorError):
        safetensors.torch.save_file(weights, temporary)
    values = {**_read(path), KEY: model.config.to_dict(), **origin}
    write_text(path / CONFIG, yaml.safe_dump(values, sort_keys=False))


def load_text_to_unit(folder: str | os.PathLike[str]) -> tuple[TextToUnit, UnitVocabulary, float]:
    """Read a model, its units, and the seconds that a unit lasts.

    Raises:
        ValueError: files are missing, damaged, or do not belong together.
    """
    path = Path(folder)
    values = _read(path).get(KEY)
    if not isinstance(values, dict):
        raise ValueError(
            f"{path / CONFIG} with an entry `{KEY}` expected: {folder} holds no trained "
            "text-to-unit model (train_text_to_unit makes one)"
        )
    if not (path / PHONES).is_file():
        raise ValueError(f"{path / PHONES} expected, but it is not there")
    UnitVocabulary.read(path / PHONES).check_same(MONOPHONES)
    frame_shift, units = read_unit_info(path)
    model = TextToUnit(TextToUnitConfig.from_dict(values), N_PHONES, len(units))
    load_weights(model, read_weights(path)[0], str(path / WEIGHTS))
    return model.eval(), units, frame_shift


def _read(folder: Path) -> dict[str, Any]:
    return read_yaml(folder / CONFIG) if (folder / CONFIG).is_file() else {}
