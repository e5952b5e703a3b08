"""A whole CTC fine-tuning: from a recipe's options to an experiment folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechlm.checkpoints.model_dir import SIZES
from speechlm.data.kaldi_dir import DataDir
from speechlm.tasks.asr import (
    SpeechLMASRTask,
    SpeechLMEncoder,
    encoder_values,
    write_initial_weights,
)
from speechlm.tasks.common import check_conf, command_line, is_first_worker, parse_espnet


def finetune_asr(
    output: str | os.PathLike[str],
    config: str | None,
    train_dir: str | os.PathLike[str],
    dev_dir: str | os.PathLike[str],
    init: str | os.PathLike[str] | None,
    options: Mapping[str, Any],
    espnet: Sequence[str] = (),
) -> Path:
    """Fine-tune with CTC on transcribed speech; an interrupted training goes on where it was.

    Args:
        output: experiment folder.
        config: YAML file; `encoder_conf.speechlm` holds differences from the model in `init`, or
            from `config_size` without it.
        train_dir, dev_dir: data directories with text and utt2num_samples.
        init: folder of a finished pre-training; None: from scratch.
        options: options of `SpeechLMASRTask` by name; None: not given.
        espnet: further command line options of ESPnet.
    """
    arguments = command_line({"output_dir": output, **options}) + list(espnet)
    for name, data_dir in (("train", train_dir), ("valid", dev_dir)):
        arguments += _data_arguments(name, Path(data_dir))
    args = parse_espnet(SpeechLMASRTask, arguments, config)
    check_conf("encoder_conf", args.encoder_conf, SpeechLMEncoder, ("input_size",))
    changes = dict(args.encoder_conf.get("speechlm", {}))
    values = encoder_values(changes, init, SIZES[args.config_size]())
    args.encoder_conf = {**args.encoder_conf, "speechlm": values}
    folder = Path(output)
    if init is not None:
        initial = folder / "init.pth"
        if is_first_worker():
            write_initial_weights(init, initial, changes)
        args.init_param = [str(initial)]
        args.pretrained = str(init)
    SpeechLMASRTask.main(args)
    return folder


def _data_arguments(mode: str, folder: Path) -> list[str]:
    """ESPnet's options for one data directory, after a look at it."""
    data = DataDir.read(folder)
    if data.text is None:
        raise ValueError(f"{folder}: transcripts expected, but {folder / 'text'} is not there")
    data.samples()
    empty = [utterance for utterance, text in data.text.items() if not text.strip()]
    if empty:
        raise ValueError(f"{folder / 'text'}: {len(empty)} transcripts are empty: {empty[:5]}")
    data_option, shape_option = f"--{mode}_data_path_and_name_and_type", f"--{mode}_shape_file"
    return [
        data_option,
        f"{folder / 'wav.scp'},speech,sound",
        data_option,
        f"{folder / 'text'},text,text",
        shape_option,
        str(folder / "utt2num_samples"),
    ]
