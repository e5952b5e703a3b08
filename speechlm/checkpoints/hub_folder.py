"""Folders in which a SpeechLM is a model of transformers: what is in them.

    config.json          `model_type` speechlm; `architectures`: the class; `speechlm`: the values
                         of SpeechLMConfig; and what transformers adds
    model.safetensors    weights, names with `network.` before the authors'
    vocab.json           ids of characters, as the tokenizer has them; not there without CTC head
    tokens.txt           units, as in a model folder; not there without unit embeddings
    README.md            the model card, and further files that transformers reads

`speechlm.hub` writes them, `model_dir` opens them as it does model folders. Reading needs no
transformers.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from speechlm.checkpoints.weight_checks import check_numbers
from speechlm.conventions import BLANK
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.data.whole_files import read_json, reading
from speechlm.models.heads import PARTS

MODEL_TYPE = "speechlm"
"""`model_type` of a SpeechLM."""
CLASSES = {"SpeechLMModel": "pretrained", "SpeechLMForCTC": "ctc"}
"""Classes whose folders are opened as model folders are, and of which kind they are."""
PREFIX = "network."
"""How the names of weights begin."""
HUB_CONFIG, HUB_WEIGHTS = "config.json", "model.safetensors"
HUB_UNITS, HUB_CHARACTERS = "tokens.txt", "vocab.json"
_ADVICE = "copy or export it again"
_FORMAT = "format"  # what transformers wants in the metadata of safetensors


@dataclasses.dataclass
class HubFolder:
    """What a folder says of its model."""

    values: Any
    """Of the network's configuration."""
    kind: str
    """`pretrained` or `ctc`."""
    units: UnitVocabulary | None
    """None: the model has no unit embeddings."""
    characters: Sequence[str] | None
    """Symbols by id; None: the model has no CTC head."""


def is_hub_folder(path: str | os.PathLike[str]) -> bool:
    """Whether this is a folder of a model of transformers, a SpeechLM or another."""
    folder = Path(path)
    return (folder / HUB_CONFIG).is_file() and not (folder / "config.yaml").is_file()


def is_hub_speechlm(path: str | os.PathLike[str]) -> bool:
    """Whether this is a folder of a SpeechLM of transformers, of whatever class.

    Raises:
        ValueError: its configuration is damaged.
    """
    return is_hub_folder(path) and _values(Path(path)).get("model_type") == MODEL_TYPE


def read_hub_folder(path: str | os.PathLike[str]) -> HubFolder:
    """What a folder that `export_huggingface` or `save_pretrained` has written says of its model.

    Raises:
        ValueError: it holds another model, or one with a head that no model folder has; a file is
            missing or damaged.
    """
    folder = Path(path)
    values = _values(folder)
    kind = _kind(values, folder)
    with _open(folder) as file:
        names = [name.removeprefix(PREFIX) for name in file.keys()]  # noqa: SIM118
    there = {part: any(n.startswith(starts) for n in names) for part, starts in PARTS.items()}
    characters = _characters(folder / HUB_CHARACTERS) if there["characters"] else None
    _check_symbols(values, characters, folder)
    return HubFolder(
        values.get("speechlm"),
        kind,
        UnitVocabulary.read(folder / HUB_UNITS) if there["units"] else None,
        characters,
    )


def read_hub_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights by the network's names, and the strings that were kept with them.

    Raises:
        ValueError: they are missing, damaged or of another model.
    """
    folder = Path(path)
    source = folder / HUB_WEIGHTS
    with _open(folder) as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    odd = [name for name in weights if not name.startswith(PREFIX)]
    if odd:
        raise ValueError(
            f"{source}: names {PREFIX}* expected, found {len(odd)} others: {', '.join(odd[:5])}"
        )
    check_numbers(weights, str(source))
    kept = {name: text for name, text in metadata.items() if name != _FORMAT}
    return {name.removeprefix(PREFIX): weight for name, weight in weights.items()}, kept


@contextmanager
def _open(folder: Path) -> Iterator[Any]:
    """The file of weights.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    path = folder / HUB_WEIGHTS
    if not path.is_file():
        raise ValueError(
            f"{path} expected, but it is not there; save the model in one file "
            "(save_pretrained with max_shard_size above its size), as safetensors"
        )
    with reading(path, "weights", _ADVICE), safe_open(path, "pt") as file:
        yield file


def _check_symbols(values: dict[str, Any], characters: Sequence[str] | None, folder: Path) -> None:
    """What config.json says of the CTC head must be so in vocab.json; its blank is the first."""
    if characters is None:
        return
    size, blank = values.get("vocab_size", len(characters)), values.get("pad_token_id", BLANK)
    if (size, blank) != (len(characters), BLANK):
        raise ValueError(
            f"{folder / HUB_CONFIG}: vocab_size {len(characters)}, as {HUB_CHARACTERS} has, and "
            f"blank (pad_token_id) {BLANK} expected, got {size!r} and {blank!r}; {_ADVICE}"
        )


def _values(folder: Path) -> dict[str, Any]:
    return read_json(folder / HUB_CONFIG, "configuration", _ADVICE)


def _kind(values: dict[str, Any], folder: Path) -> str:
    found = values.get("model_type")
    if found != MODEL_TYPE:
        raise ValueError(
            f"{folder} holds a model of type {found}, not {MODEL_TYPE}: open it with transformers; "
            "here pre-training can start from a HuBERT (--init_speech), and the layers of HuBERT, "
            "WavLM and wav2vec 2.0 can be clustered (--hidden_model)"
        )
    classes = values.get("architectures")
    name = classes[0] if isinstance(classes, list) and len(classes) == 1 else classes
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(
            f"{folder} holds a {name}; {' or '.join(CLASSES)} expected, as model folders have no "
            "other heads: open it as a SpeechLMModel and save that"
        )
    return CLASSES[name]


def _characters(path: Path) -> list[str]:
    """Symbols by id of the tokenizer's vocabulary."""
    ids = read_json(path, "symbols and their ids", _ADVICE)
    symbols = sorted(ids, key=lambda symbol: str(ids[symbol]).zfill(9))
    if [ids[symbol] for symbol in symbols] != list(range(len(symbols))):
        raise ValueError(f"{path}: ids 0 to {len(ids) - 1}, one a symbol, expected")
    return symbols
