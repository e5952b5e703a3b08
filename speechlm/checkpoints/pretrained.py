"""A trained SpeechLM for use in Python: `speechlm.SpeechLM`."""

from __future__ import annotations

import os
from typing import Any, Self, cast

from speechlm import models
from speechlm.checkpoints.model_dir import load_speechlm, read_description
from speechlm.models.without_heads import drop_characters, drop_units


class SpeechLM(models.SpeechLM):
    """The network, with a way to open a folder that holds a trained one."""

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **changes: Any) -> Self:
        """Open a model, in evaluation mode, on the CPU.

        Args:
            folder: written by a pre-training or by `speechlm.bin.import_checkpoint`.
            changes: values of `SpeechLMConfig` to replace, e.g. `ignore_padding=True`.

        Returns:
            The model. Parts whose weights the folder lacks (unit embeddings and CTC head, in the
            authors' cleaned checkpoints) are None in it; features need neither.

        Raises:
            ValueError: files are missing, damaged, or do not belong together.
        """
        if os.path.isfile(folder):
            raise ValueError(
                f"{folder} is a file, a model folder is expected; make one of a checkpoint with "
                "python -m speechlm.bin.import_checkpoint --input FILE --output FOLDER"
            )
        model = cast(Self, load_speechlm(folder, cls, **changes)[0])
        without = read_description(folder).without
        if "units" in without:
            drop_units(model)
        if "characters" in without:
            drop_characters(model)
        return model.eval()
