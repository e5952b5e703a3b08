"""A trained SpeechLM of any folder: pre-trained, fine-tuned or imported. Needs no ESPnet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

from speechlm import models
from speechlm.checkpoints.fine_tuned import FineTuning
from speechlm.checkpoints.hub_folder import HUB_CONFIG, HUB_WEIGHTS, is_hub_folder
from speechlm.checkpoints.model_dir import CONFIG, WEIGHTS, load_speechlm, read_description
from speechlm.models.without_heads import drop_characters, drop_units


class SpeechLM(models.SpeechLM):
    """The network, with a way to open a folder that holds a trained one.

    `speechlm.SpeechLM` is this with `transcribe`.
    """

    folder: Path
    """Where it is from."""
    kind: str
    """`pretrained`, `ctc` or `translation`."""

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **changes: Any) -> Self:
        """Open a model, in evaluation mode, on the CPU.

        Args:
            folder: written by a pre-training, a fine-tuning (CTC or translation; its best weights
                in validation are taken), by `speechlm.bin.import_checkpoint`, or by
                `speechlm.bin.export_huggingface`.
            changes: values of `SpeechLMConfig` to replace, e.g. `ignore_padding=True`.

        Returns:
            The model. Parts whose weights the folder lacks are None in it: the CTC head of
            translations, unit embeddings of fine-tunings, both in the authors' cleaned
            checkpoints. Features need neither.

        Raises:
            ValueError: files are missing, damaged, do not belong together, or hold no SpeechLM.
        """
        model, kind = open_network(folder, changes, cls)
        opened = cast(Self, model.eval())
        opened.folder, opened.kind = Path(folder), kind
        return opened


def open_network(
    folder: str | os.PathLike[str],
    changes: Mapping[str, Any],
    model_class: type[models.SpeechLM] = models.SpeechLM,
    weights: str | None = None,
) -> tuple[models.SpeechLM, str]:
    """The network of a folder, without the parts whose weights the folder lacks, and its kind.

    Args:
        folder: as in `SpeechLM.from_pretrained`.
        changes: values of the config to replace.
        model_class: class of the network.
        weights: file name in a fine-tuning's folder; None: the best in validation.

    Raises:
        ValueError: as `SpeechLM.from_pretrained`.
    """
    if os.path.isfile(folder):
        raise ValueError(
            f"{folder} is a file, a model folder is expected; make one of a checkpoint with "
            "python -m speechlm.bin.import_checkpoint --input FILE --output FOLDER"
        )
    tuned = FineTuning.find(folder)
    if tuned is not None:
        return tuned.network(model_class, changes, weights), tuned.kind
    if weights not in (None, WEIGHTS):
        raise ValueError(f"{folder} has one file of weights, {WEIGHTS}, got {weights}")
    model = load_speechlm(folder, model_class, **changes)[0]
    description = read_description(folder)
    if "units" in description.without:
        drop_units(model)
    if "characters" in description.without:
        drop_characters(model)
    return model, description.kind


def model_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The files of a folder that its model is read from: configuration and weights.

    Raises:
        ValueError: there is no configuration, or a fine-tuning without weights.
    """
    if is_hub_folder(folder):
        return [Path(folder) / name for name in (HUB_CONFIG, HUB_WEIGHTS)]
    tuned = FineTuning.find(folder)
    weights = Path(folder) / WEIGHTS if tuned is None else tuned.weights_file()
    return [path for path in (Path(folder) / CONFIG, weights) if path.is_file()]
