"""A whole pre-training: from a recipe's options to a model folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from speechlm.checkpoints.model_dir import SIZES, save_speechlm
from speechlm.checkpoints.warm_start import warm_start
from speechlm.conventions import PAD
from speechlm.data.archives import read_unit_info
from speechlm.data.vocabulary import CharacterVocabulary, UnitVocabulary
from speechlm.models import SpeechLM
from speechlm.tasks.common import is_first_worker, parse_training, sized_config, start_from
from speechlm.tasks.pretrain import SpeechLMPretrainTask
from speechlm.tasks.trainer import load_weights_only
from speechlm.tasks.update_size import as_told

LAST = "latest.pth"
"""Link to the weights after the last update, which are the trained model as the authors' are."""
PREFIX = "speechlm."


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

    Raises:
        ValueError: options, files or folders that cannot be used.
    """
    args = parse_training(SpeechLMPretrainTask, output, config, options, espnet)
    as_told(args, espnet)
    args.model_conf = with_label_rate(args)
    folder = Path(output)
    if args.init_speech is not None:
        start_from(args, lambda: _initial_weights(args))
    SpeechLMPretrainTask.main(args)
    if is_first_worker() and not args.dry_run:
        weights = load_weights_only(folder / LAST)
        save_speechlm(
            folder,
            sized_config(args.config_size, args.model_conf, "model_conf"),
            UnitVocabulary.read(folder / "tokens.txt"),
            {name.removeprefix(PREFIX): value for name, value in weights.items()},
            trained_with={
                "espnet": args.version,
                "torch": str(torch.__version__),
                "seed": args.seed,
            },
        )
    return folder


def with_label_rate(args: argparse.Namespace) -> dict[str, Any]:
    """`model_conf` with the label rate of the units that the speech has, if it gives none.

    Phones are labelled 100 times a second, clusters as often as what was clustered has frames.

    Raises:
        ValueError: the speech has no such units, or labels at no multiple of the frame rate.
    """
    units = Path(args.speech_dir) / args.units
    shift, _ = read_unit_info(units)
    values = {"label_rate": round(1 / shift), **args.model_conf}
    sized_config(args.config_size, args.model_conf, "model_conf")
    try:
        SIZES[args.config_size](**values)
    except ValueError as error:
        raise ValueError(f"{units / 'frame_shift'} does not fit the model: {error}") from None
    return values


def _initial_weights(args: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Weights of `init_speech`; init_speech.txt lists which were taken, and which not."""
    config = sized_config(args.config_size, args.model_conf, "model_conf")
    model = SpeechLM(config, PAD + 1, CharacterVocabulary.n_ids)
    start = warm_start(args.init_speech, model)
    start.write(Path(args.output_dir) / "init_speech.txt")
    return {f"{PREFIX}{name}": value for name, value in start.taken.items()}
