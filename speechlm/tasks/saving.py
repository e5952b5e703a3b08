"""How a training writes its files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from speechlm.data.atomic import library_writes, output_file


@contextmanager
def atomic_saving() -> Iterator[None]:
    """Within the block `torch.save` to a path leaves the whole file or none."""
    save = torch.save

    def atomic_save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(f, str | os.PathLike):
            save(obj, f, *args, **kwargs)
            return
        with output_file(f) as path, open(path, "wb") as stream:
            with library_writes(f, RuntimeError):
                save(obj, stream, *args, **kwargs)
            stream.flush()
            os.fsync(stream.fileno())

    torch.save = atomic_save
    try:
        yield
    finally:
        torch.save = save
