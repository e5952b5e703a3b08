"""Reading of YAML files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml


def read_yaml(path: str | os.PathLike[str], why: str = "") -> dict[str, Any]:
    """Values by key.

    Args:
        path: the file.
        why: what it means that the file is not there, for the message.

    Raises:
        ValueError: it is not there, or no YAML of keys and plain values.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} expected, but it is not there{why}")
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not YAML of plain values ({reason})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: `key: value` lines expected")
    return values
