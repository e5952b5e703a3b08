"""How a training writes its files: whole or not at all, and two checkpoints of its state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from speechlm.checkpoints.trainer_files import CHECKPOINT, PREVIOUS
from speechlm.data.atomic import library_writes, output_file

_save = torch.save


def save_file(obj: Any, path: str | os.PathLike[str]) -> None:
    """`torch.save` to a file that is there whole, and on the disk, or not at all.

    A `CHECKPOINT` that is there becomes `PREVIOUS`.

    Raises:
        OSError: the file cannot be written; what was there is as it was.
    """
    final = Path(path)
    with output_file(final) as temporary:
        with open(temporary, "wb") as stream:
            with library_writes(final, RuntimeError):
                _save(obj, stream)
            stream.flush()
            os.fsync(stream.fileno())
        if final.name == CHECKPOINT and final.exists():
            os.replace(final, final.with_name(PREVIOUS))
    _sync_folder(final.parent)


def _sync_folder(folder: Path) -> None:
    """Have the folder's list of files on the disk, too: a renamed file is then found there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_saving() -> Iterator[None]:
    """Within the block `torch.save` to a path is `save_file`."""

    def save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(f, str | os.PathLike):
            save_file(obj, f)
        else:
            _save(obj, f, *args, **kwargs)

    torch.save = save
    try:
        yield
    finally:
        torch.save = _save
