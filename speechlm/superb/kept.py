"""Finished trainings of heads, so that an interrupted run goes on with the next one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.atomic import output_file, write_text

_IDENTITY = "identity.txt"


class KeptTrainings:
    """A folder of trained heads, which are used again only by what has the same identity.

    Args:
        folder: made if needed; what another identity left in it is removed.
        identity: what the trainings follow from.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: str) -> None:
        self.folder = Path(folder)
        record = self.folder / _IDENTITY
        if not record.is_file() or record.read_text(encoding="utf-8") != identity:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_text(record, identity)

    def load(self, name: str) -> dict[str, Any] | None:
        """What was saved under a name; None: nothing.

        Raises:
            ValueError: the file is damaged.
        """
        path = self.folder / f"{name}.pth"
        return load_weights_only(path) if path.is_file() else None

    def save(self, name: str, values: dict[str, Any]) -> None:
        """Keep tensors and plain values, whole or not at all."""
        with output_file(self.folder / f"{name}.pth") as temporary:
            torch.save(values, temporary)
