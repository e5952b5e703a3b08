"""Reading of YAML files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from speechlm.data.whole_files import reading

_MOST_VALUES = 1_000_000


def read_yaml(path: str | os.PathLike[str], why: str = "") -> dict[str, Any]:
    """Values by key.

    Args:
        path: the file.
        why: what it means that the file is not there, for the message.

    Raises:
        ValueError: it is not there, empty, cut off, or no YAML of keys and plain values.
    """
    if not os.path.lexists(path):
        raise ValueError(f"{path} expected, but it is not there{why}")
    with reading(path, "YAML of plain values"):
        values = _load(Path(path).read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{path}: `key: value` lines expected")
    return values


def _load(text: str) -> Any:
    """The values of a text, as `yaml.safe_load`, but of a size that is checked first.

    Raises:
        ValueError: written out they would be more than a million, or never come to an end: a name
            (`&a`) can stand for two of another (`*b`), that for two of a third, and so on.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > _MOST_VALUES:
            raise ValueError(f"written out it has more than {_MOST_VALUES} values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node has when all names in it are written out."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = _MOST_VALUES + 1  # of a node within itself
    parts = node.value if isinstance(node, yaml.CollectionNode) else []
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in parts for part in pair]
    known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]
