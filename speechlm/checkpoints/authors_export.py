"""Writing the authors' cleaned form of a model folder, which their SpeechLM.py loads."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechlm.checkpoints.authors_config import check_authors_network, to_authors
from speechlm.checkpoints.model_dir import DECODER, WEIGHTS, read_description, read_weights
from speechlm.checkpoints.weight_checks import check_names
from speechlm.data.atomic import library_writes, output_file
from speechlm.models.heads import PARTS

METADATA = "authors"
"""Name of the string in model.safetensors that keeps what only an export needs."""
NOT_CLEANED = (*PARTS["units"], *PARTS["characters"])
"""How the names of the weights begin that the cleaned form lacks."""
_ORDER = (
    "mask_emb",
    "feature_extractor.",
    "post_extract_proj.",
    "encoder.pos_conv.",
    "encoder.layers.",
    "encoder.layer_norm.",
    "encoder.pos_emb.",
    "layer_norm.",
    "final_proj_list.",
    "unit_encoder.version",
    "unit_encoder.embed_positions.",
    "unit_encoder.layernorm_embedding.",
    "unit_encoder.layers.",
    "unit_encoder.layer_norm.",
    "unit_encoder.pos_emb.",
)
"""Order of the weights in a cleaned checkpoint."""


def export_checkpoint(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> int:
    """Write the authors' cleaned form of a model folder; returns the number of its tensors.

    Tensors, their types and order, and the configuration are those of the checkpoint that the
    folder was imported from; of a model trained here the configuration is made.

    Raises:
        ValueError: the folder holds no model, or one whose weights are incomplete, or a fast one.
    """
    check_no_folder(path)
    description = read_description(folder)
    check_authors_network(description.config, str(folder))
    weights, metadata = read_weights(folder)
    weights = {n: w for n, w in weights.items() if not n.startswith((DECODER, *NOT_CLEANED))}
    with torch.device("meta"):
        expected = description.build().state_dict()
    missing = [n for n in expected if n not in weights and not n.startswith(NOT_CLEANED)]
    check_names(missing, [n for n in weights if n not in expected], {}, str(folder))
    if METADATA in metadata:
        authors = kept(metadata[METADATA], Path(folder) / WEIGHTS)
    else:
        order = sorted(
            (name for name in expected if name in weights),  # their order within a module is ours
            key=lambda name: next(i for i, start in enumerate(_ORDER) if name.startswith(start)),
        )
        top = {"cfg": to_authors(description.config), "model": None}
        authors = {"order": order, "ordered": True, "top": top}
    return write_checkpoint(path, weights, authors, str(folder))


def check_no_folder(path: str | os.PathLike[str]) -> None:
    """Make sure that a file of this name can be written, before weights are read.

    Raises:
        ValueError: it is a folder.
    """
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder; the name of a file to write is expected")


def write_checkpoint(
    path: str | os.PathLike[str],
    weights: Mapping[str, Tensor],
    authors: Mapping[str, Any],
    source: str,
) -> int:
    """Write weights in the authors' form; returns the number of the tensors.

    Args:
        path: the file.
        weights: by the authors' names.
        authors: what `kept` gives: their order and kind of dictionary, and the other entries.
        source: where the weights are from, for messages.

    Raises:
        ValueError: the weights are others than those of the order.
    """
    if set(authors["order"]) != weights.keys():
        raise ValueError(f"{source}: {WEIGHTS} has been changed since the import; import again")
    model = (OrderedDict if authors["ordered"] else dict)((n, weights[n]) for n in authors["order"])
    with output_file(path) as temporary, library_writes(path, RuntimeError):
        torch.save({**authors["top"], "model": model}, temporary)
    return len(model)


def pack(values: dict[str, Any]) -> str:
    """Plain values as JSON that gives them back exactly, tuples and numbers as keys included."""
    return json.dumps(_tagged(values))


def kept(text: str, source: Path) -> dict[str, Any]:
    """What the import has kept for the export: order, ordered, top.

    Raises:
        ValueError: it is damaged.
    """
    try:
        values = _untagged(json.loads(text))
        names, top = values["order"], values["top"]
    except (ValueError, TypeError, KeyError, RecursionError):
        names, top = None, None
    whole = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not (whole and isinstance(top, dict) and isinstance(values.get("ordered"), bool)):
        raise ValueError(f"{source}: what the import has kept in it is damaged; import again")
    return values


def _tagged(value: Any) -> Any:
    """For JSON, which has no tuples and no keys but strings."""
    if isinstance(value, tuple):
        return {"(tuple)": [_tagged(item) for item in value]}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) and key not in ("(tuple)", "(pairs)") for key in value):
            return {key: _tagged(item) for key, item in value.items()}
        return {"(pairs)": [[key, _tagged(item)] for key, item in value.items()]}
    return value


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"(tuple)"}:
        return tuple(_untagged(item) for item in value["(tuple)"])
    if value.keys() == {"(pairs)"}:
        return {key: _untagged(item) for key, item in value["(pairs)"]}
    return {key: _untagged(item) for key, item in value.items()}
