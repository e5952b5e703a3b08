"""Reading a training's files without executing what they may contain. Needs no ESPnet."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechlm.data.whole_files import is_whole_archive, reading

CHECKPOINT = "checkpoint.pth"
"""File of a training's whole state after its last epoch."""
_EPOCH = re.compile(r"([0-9]+)epoch\.pth")
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
        ValueError: the file is missing, empty, cut off, not such a file, or holds other objects;
            the message says what else is there to go on with.
    """
    with (
        reading(path, "model weights or training state", _advice(Path(path))),
        torch.serialization.safe_globals(_SAFE_TYPES),
    ):
        return torch.load(path, map_location=device, weights_only=True)


def last_epoch(output_dir: str | os.PathLike[str]) -> int:
    """Number of the last epoch in the folder's checkpoint; 0 if there is none."""
    path = Path(output_dir) / CHECKPOINT
    return load_weights_only(path)["reporter"]["epoch"] if os.path.lexists(path) else 0


def whole_epochs(folder: str | os.PathLike[str]) -> list[int]:
    """Epochs whose weights are there, in files Nepoch.pth that have their end, in order."""
    found = (_EPOCH.fullmatch(path.name) for path in Path(folder).glob("*epoch.pth"))
    return sorted(int(m[1]) for m in found if m and is_whole_archive(Path(folder, m[0])))


def _advice(path: Path) -> str:
    """What to do if a file of a training cannot be read."""
    epochs = whole_epochs(path.parent)
    if path.name == CHECKPOINT:
        fresh = f"remove {path} to train from the beginning"
        if not epochs:
            return f"restore a good copy, or {fresh}"
        last = path.parent / f"{epochs[-1]}epoch.pth"
        return (
            f"restore a good copy; or {fresh}, with --init_param {last} to begin from the weights "
            f"after epoch {epochs[-1]} (the learning rate begins anew)"
        )
    others = [f"{epoch}epoch.pth" for epoch in epochs if f"{epoch}epoch.pth" != path.name]
    if not others:
        return "restore a good copy, or remove it and train again"
    return (
        "restore a good copy, or train again; weights of other epochs are there, for --weights of "
        f"decoding: {' '.join(others[-5:])}"
    )
