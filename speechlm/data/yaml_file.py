"""Reading of YAML files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from speechlm.data.whole_files import reading


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
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{path}: `key: value` lines expected")
    return values
