"""A SpeechLM of transformers, read back into a model folder."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor

from speechlm.checkpoints.authors_import import check_output
from speechlm.checkpoints.hub_folder import HUB_WEIGHTS
from speechlm.checkpoints.model_dir import (
    CHARACTERS,
    CONFIG,
    TOKENS,
    WEIGHTS,
    Description,
    outline,
    read_description,
    read_weights,
    save_model,
)
from speechlm.checkpoints.weight_checks import check_names
from speechlm.data.atomic import output_dir
from speechlm.models.heads import TIED, weights_of


def import_hub_folder(
    folder: str | os.PathLike[str], output: str | os.PathLike[str]
) -> Description:
    """Turn a SpeechLM of transformers into a model folder; weights stay the same to the bit.

    Args:
        folder: what `export_huggingface` or `save_pretrained` has written.
        output: the folder, see `model_dir`.

    Raises:
        ValueError: it holds another model, or one with a head that no model folder has; a file is
            missing or damaged, or its parts do not belong together. Or `output` has other files.
    """
    check_output(Path(output), {CONFIG, WEIGHTS, TOKENS, "tokens.origin", CHARACTERS})
    source = Path(folder)
    description = read_description(source)
    weights, metadata = read_weights(source)
    _check_fit(description, weights, str(source / HUB_WEIGHTS))
    with output_dir(output, (TOKENS, "tokens.origin", CHARACTERS)) as path:
        save_model(path, description, weights, metadata or None, imported_from=source.name)
    return description


def _check_fit(description: Description, weights: dict[str, Tensor], source: str) -> None:
    """Every weight of the configuration must be there, with its shape, and no other."""
    own = outline(description, len(weights), source)
    absent = (TIED, *weights_of(description.without))
    check_names(
        [name for name in own if name not in weights and not name.startswith(absent)],
        [name for name in weights if name not in own],
        {name: (w.shape, own[name].shape) for name, w in weights.items() if name in own},
        source,
    )
