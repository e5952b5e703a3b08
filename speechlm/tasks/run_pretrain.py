"""A whole pre-training: from a recipe's options to a model folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from speechlm.tasks.common import command_line, is_first_worker, parse_espnet
from speechlm.tasks.model_dir import SIZES, save_speechlm
from speechlm.tasks.pretrain import SpeechLMPretrainTask
from speechlm.tasks.trainer import load_weights_only
from speechlm.tokenizers.vocabulary import UnitVocabulary

AVERAGE = "valid.loss.ave.pth"
"""Link to the weights that pre-training ends with."""


def pretrain(
    output: str | os.PathLike[str],
    config: str | None,
    options: Mapping[str, Any],
    espnet: Sequence[str] = (),
) -> Path:
    """Pre-train a SpeechLM; an interrupted training goes on where it was.

    Args:
        output: experiment folder.
        config: YAML file.
        options: options of `SpeechLMPretrainTask` by name; None: not given.
        espnet: further command line options of ESPnet.

    Returns:
        The folder, with `model.safetensors` and what `model_dir` describes in it.
    """
    arguments = command_line({"output_dir": output, **options}) + list(espnet)
    args = parse_espnet(SpeechLMPretrainTask, arguments, config)
    SpeechLMPretrainTask.main(args)
    folder = Path(output)
    if is_first_worker() and not args.dry_run:
        weights = load_weights_only(folder / AVERAGE)
        prefix = "speechlm."
        save_speechlm(
            folder,
            SIZES[args.config_size](**args.model_conf),
            UnitVocabulary.read(folder / "tokens.txt"),
            {name.removeprefix(prefix): value for name, value in weights.items()},
            trained_with={
                "espnet": args.version,
                "torch": str(torch.__version__),
                "seed": args.seed,
            },
        )
    return folder
