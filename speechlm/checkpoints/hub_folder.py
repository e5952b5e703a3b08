"""Folders in which a SpeechLM is a model of transformers, read back into model folders.

    config.json          `model_type` speechlm; `architectures`: the class; `speechlm`: the values
                         of SpeechLMConfig; and what transformers adds
    model.safetensors    weights, names with `network.` before the authors'
    vocab.json           ids of characters, as the tokenizer has them; not there without CTC head
    tokens.txt           units, as in a model folder; not there without unit embeddings
    README.md            the model card, and further files that transformers reads

`speechlm.hub` writes them. Reading needs no transformers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from speechlm.checkpoints.authors_import import check_output
from speechlm.checkpoints.model_dir import (
    CHARACTERS,
    CONFIG,
    TOKENS,
    WEIGHTS,
    Description,
    changed_config,
    check_names,
    outline,
    read_weights,
    save_model,
)
from speechlm.checkpoints.weight_checks import check_numbers
from speechlm.conventions import BLANK
from speechlm.data.atomic import output_dir
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.data.whole_files import read_json
from speechlm.models.heads import PARTS, TIED, weights_of

MODEL_TYPE = "speechlm"
"""`model_type` of a SpeechLM."""
CLASSES = {"SpeechLMModel": "pretrained", "SpeechLMForCTC": "ctc"}
"""Classes whose folders become model folders, and of which kind."""
PREFIX = "network."
"""How the names of weights begin."""
HUB_CONFIG, VOCABULARY = "config.json", "vocab.json"
_FORMAT = "format"  # what transformers wants in the metadata of safetensors


def is_hub_folder(path: str | os.PathLike[str]) -> bool:
    """Whether this is a folder of a model of transformers, a SpeechLM or another."""
    return (Path(path) / HUB_CONFIG).is_file()


def import_hub_folder(
    folder: str | os.PathLike[str], output: str | os.PathLike[str]
) -> Description:
    """Turn a SpeechLM of transformers into a model folder; weights stay the same to the bit.

    Args:
        folder: what `export_huggingface` or `save_pretrained` has written.
        output: the folder, see `model_dir`.

    Raises:
        ValueError: it holds another model, or one with a head that no model folder has; a file is
            missing or damaged, or its parts do not belong together. Or `output` has other files.
    """
    check_output(Path(output), {CONFIG, WEIGHTS, TOKENS, "tokens.origin", CHARACTERS})
    source = Path(folder)
    values = read_json(source / HUB_CONFIG, "configuration", "copy or export it again")
    kind = _kind(values, source)
    if not (source / WEIGHTS).is_file():
        raise ValueError(
            f"{source / WEIGHTS} expected, but it is not there; save the model in one file "
            "(save_pretrained with max_shard_size above its size), as safetensors"
        )
    weights, metadata = read_weights(source)
    weights = _our_names(weights, source)
    config = changed_config(values.get("speechlm"), {}, source / HUB_CONFIG)
    there = {part: _has(weights, names) for part, names in PARTS.items()}
    description = Description(
        config,
        kind,
        UnitVocabulary.read(source / TOKENS) if there["units"] else None,
        _characters(source / VOCABULARY) if there["characters"] else None,
    )
    _check_symbols(values, description.characters, source)
    _check_fit(description, weights, str(source / WEIGHTS))
    kept = {name: text for name, text in metadata.items() if name != _FORMAT}
    with output_dir(output, (TOKENS, "tokens.origin", CHARACTERS)) as path:
        save_model(path, description, weights, kept or None, imported_from=source.name)
    return description


def _check_symbols(values: dict[str, Any], characters: Sequence[str] | None, folder: Path) -> None:
    """What config.json says of the CTC head must be so in vocab.json; its blank is the first."""
    if characters is None:
        return
    size, blank = values.get("vocab_size", len(characters)), values.get("pad_token_id", BLANK)
    if (size, blank) != (len(characters), BLANK):
        raise ValueError(
            f"{folder / HUB_CONFIG}: vocab_size {len(characters)}, as {VOCABULARY} has, and blank "
            f"(pad_token_id) {BLANK} expected, got {size!r} and {blank!r}; copy or export it again"
        )


def _check_fit(description: Description, weights: dict[str, Tensor], source: str) -> None:
    """Every weight of the configuration must be there, with its shape, and no other."""
    own = outline(description, len(weights), source)
    check_numbers(weights, source)
    absent = (TIED, *weights_of(description.without))
    check_names(
        [name for name in own if name not in weights and not name.startswith(absent)],
        [name for name in weights if name not in own],
        {name: (w.shape, own[name].shape) for name, w in weights.items() if name in own},
        source,
    )


def _kind(values: dict[str, Any], folder: Path) -> str:
    found = values.get("model_type")
    if found != MODEL_TYPE:
        raise ValueError(
            f"{folder} holds a model of type {found}, not {MODEL_TYPE}; pre-training can start "
            "from a HuBERT (--init_speech), and its layers can be clustered (--hidden_model)"
        )
    classes = values.get("architectures")
    name = classes[0] if isinstance(classes, list) and len(classes) == 1 else classes
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(
            f"{folder} holds a {name}; {' or '.join(CLASSES)} expected, as model folders have no "
            "other heads: open it as a SpeechLMModel and save that"
        )
    return CLASSES[name]


def _our_names(weights: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    odd = [name for name in weights if not name.startswith(PREFIX)]
    if odd:
        raise ValueError(
            f"{folder / WEIGHTS}: names {PREFIX}* expected, found {len(odd)} others: "
            f"{', '.join(odd[:5])}"
        )
    return {name.removeprefix(PREFIX): weight for name, weight in weights.items()}


def _has(weights: dict[str, Tensor], names: Sequence[str]) -> bool:
    return any(name.startswith(tuple(names)) for name in weights)


def _characters(path: Path) -> list[str]:
    """Symbols by id of the tokenizer's vocabulary."""
    ids = read_json(path, "symbols and their ids", "copy or export it again")
    symbols = sorted(ids, key=lambda symbol: str(ids[symbol]).zfill(9))
    if [ids[symbol] for symbol in symbols] != list(range(len(symbols))):
        raise ValueError(f"{path}: ids 0 to {len(ids) - 1}, one a symbol, expected")
    return symbols
