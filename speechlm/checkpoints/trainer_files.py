"""Reading a training's files without executing what they may contain. Needs no ESPnet."""

from __future__ import annotations

import datetime
import errno
import logging
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechlm.data.whole_files import DamagedFile, is_whole_archive, reading

CHECKPOINT = "checkpoint.pth"
"""File of a training's whole state."""
PREVIOUS = "checkpoint.previous.pth"
"""The state before that, for the case that the newer file is damaged."""
DAMAGED = "checkpoint.damaged.pth"
"""What a damaged checkpoint is called when the one before has taken its place."""
_CONTENT = "model weights or training state"
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
        ValueError: the file is missing, empty, cut off, damaged (its checksums differ), not such a
            file, or holds other objects; the message says what else is there to go on with.
    """
    with (
        reading(path, _CONTENT, _advice(Path(path))),
        torch.serialization.safe_globals(_SAFE_TYPES),
    ):
        if zipfile.is_zipfile(path):
            _compare_checksums(path)
        return torch.load(path, map_location=device, weights_only=True)


def check_whole(path: str | os.PathLike[str]) -> None:
    """Read a file of `torch.save` to its end and compare its checksums.

    Raises:
        ValueError: as `load_weights_only`.
    """
    with reading(path, _CONTENT, _advice(Path(path))):
        _compare_checksums(path)


def _compare_checksums(path: str | os.PathLike[str]) -> None:
    """Compare the CRC-32 of each record, which `torch.save` writes and `torch.load` ignores.

    They find a changed bit anywhere in what is loaded; the archive's own structure is checked, too.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # torch.save packs nothing; a small file that unpacks to gigabytes is none of its own
            there = os.path.getsize(path)
            if (most := sum(info.file_size for info in archive.infolist())) > there:
                raise ValueError(f"its records promise {most} bytes, {there} are there")
            wrong = archive.testzip()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError("its records lie at impossible places: bits have changed") from None
    if wrong is not None:
        raise ValueError(f"the checksum of its record {wrong} differs: bits have changed")


def has_checkpoint(folder: str | os.PathLike[str]) -> bool:
    """Whether a training has been begun in the folder, and come to a checkpoint."""
    return any(os.path.lexists(Path(folder, name)) for name in (CHECKPOINT, PREVIOUS))


def choose_checkpoint(folder: str | os.PathLike[str]) -> None:
    """Make `CHECKPOINT` the newer one of the two that is whole; both are read to know.

    A damaged one is kept as `DAMAGED`, and the log says which one is used. Nothing is done where
    there is none.

    Raises:
        ValueError: there are checkpoints, but none is whole; what is wrong and what to do.
    """
    newer, older = Path(folder, CHECKPOINT), Path(folder, PREVIOUS)
    if not has_checkpoint(folder):
        return
    try:
        check_whole(newer)
        return
    except DamagedFile as error:
        wrong = str(error)
    if not os.path.lexists(older):
        raise DamagedFile(wrong)
    what = wrong.split(";")[0]
    try:
        check_whole(older)
    except DamagedFile as error:
        raise DamagedFile(f"{what}; {error}") from None
    if os.path.lexists(newer):
        os.replace(newer, newer.with_name(DAMAGED))
        what += f" (kept as {DAMAGED})"
    os.replace(older, newer)
    logging.warning(
        "%s; the checkpoint before it is whole and is used: what followed is learned again", what
    )


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
    if path.name in (CHECKPOINT, PREVIOUS):
        fresh = f"remove {path.parent}/checkpoint*.pth to train from the beginning"
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
