"""Reading a training's files without executing what they may contain. Needs no ESPnet."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

_SAFE_TYPES: list[Any] = [
    datetime.timedelta,
    np.dtype,
    np.ndarray,
    np.float64,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
    type(np.dtype(np.int64)),
    np.float64(0).__reduce__()[0],  # numpy's constructor of scalars
]


def load_weights_only(path: str | os.PathLike[str], device: str = "cpu") -> Any:
    """Read a file of `torch.save` that holds tensors and plain values, executing nothing.

    Raises:
        ValueError: the file is missing, not such a file, or holds other objects.
    """
    try:
        with torch.serialization.safe_globals(_SAFE_TYPES):
            return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"no such file: {path}") from None
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{path} cannot be read as model weights or training state: {reason}; "
            "remove it to start anew, or restore a good copy"
        ) from error


def last_epoch(output_dir: str | os.PathLike[str]) -> int:
    """Number of the last epoch in the folder's checkpoint; 0 if there is none."""
    path = Path(output_dir) / "checkpoint.pth"
    return load_weights_only(path)["reporter"]["epoch"] if path.exists() else 0
