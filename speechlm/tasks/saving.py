"""How a training writes its files: whole or not at all, and two checkpoints of its state."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from espnet2.train.trainer import TrainerOptions

from speechlm.checkpoints.trainer_files import CHECKPOINT, PREVIOUS
from speechlm.data.atomic import output_file
from speechlm.data.disk import cannot_write, check_room

_save = torch.save


class _Stream:
    """A file that remembers why it could not be written: torch raises errors of its own then."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.flush = file, file.flush
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise


def save_file(obj: Any, path: str | os.PathLike[str]) -> None:
    """`torch.save` to a file that is there whole, and on the disk, or not at all.

    A `CHECKPOINT` that is there becomes `PREVIOUS`.

    Raises:
        CannotWrite: there is no room, or the folder is read-only; what was there is as it was.
    """
    final, needed = Path(path), tensor_bytes(obj)
    check_room(final.parent, needed, final.name)
    with output_file(final) as temporary:
        try:
            with open(temporary, "wb") as file:
                _write(obj, _Stream(file))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(error.errno, final, error.strerror or str(error), needed) from None
        if final.name == CHECKPOINT and final.exists():
            os.replace(final, final.with_name(PREVIOUS))
    _sync_folder(final.parent)


def _write(obj: Any, stream: Any) -> None:
    try:
        _save(obj, stream)
    except RuntimeError:
        if stream.error is None:
            raise
        raise stream.error from None


def tensor_bytes(value: Any) -> int:
    """Bytes of all tensors in nested dictionaries, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return 0
    return sum(tensor_bytes(item) for item in value)


def check_room_for_training(
    options: TrainerOptions, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> None:
    """Make sure that the files of a training have room, before it begins.

    Raises:
        CannotWrite: not even those of the first epoch have, or the folder is read-only.
    """
    folder = Path(options.output_dir)
    weights = tensor_bytes(model.state_dict())
    # Most optimisers, Adam's relatives, keep two numbers for each that they train.
    groups = [group["params"] for optimizer in optimizers for group in optimizer.param_groups]
    state = weights + 2 * tensor_bytes(groups)
    check_room(folder, state + weights, "a checkpoint and the weights of an epoch")
    # Two checkpoints and one that is being written, the best epochs, the latest, and averages.
    keep = options.keep_nbest_models
    epochs = (keep if isinstance(keep, int) else max(keep, default=1)) + 2
    there = sum(path.stat().st_size for path in folder.glob("*.pth") if not path.is_symlink())
    wanted, free = 3 * state + epochs * weights - there, shutil.disk_usage(folder).free
    if free < wanted:
        logging.warning(
            "%s: %s bytes will be needed for checkpoints and weights, and %s are free",
            *(folder, f"{wanted:,}", f"{free:,}"),
        )


def _sync_folder(folder: Path) -> None:
    """Have the folder's list of files on the disk, too: a renamed file is then found there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_saving(saved: Callable[[Any], None] = lambda _: None) -> Iterator[None]:
    """Within the block `torch.save` to a path is `save_file`; `saved` learns of a `CHECKPOINT`."""

    def save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(f, str | os.PathLike):
            save_file(obj, f)
            if Path(f).name == CHECKPOINT:
                saved(obj)
        else:
            _save(obj, f, *args, **kwargs)

    torch.save = save
    try:
        yield
    finally:
        torch.save = _save
