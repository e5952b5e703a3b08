"""A whole CTC fine-tuning: from a recipe's options to an experiment folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from speechlm.checkpoints.ctc_encoder import split_weights
from speechlm.checkpoints.model_dir import check_characters, load_config, load_speechlm
from speechlm.checkpoints.warm_start import check_architecture
from speechlm.conventions import Framing
from speechlm.data.ctc_lengths import TOO_LONG, too_long
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report
from speechlm.tasks.asr import SpeechLMASRTask, SpeechLMEncoder
from speechlm.tasks.common import (
    check_conf,
    is_first_worker,
    parse_training,
    scratch_config,
    speech_options,
    start_from,
)
from speechlm.tasks.left_out import used_samples


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

    Utterances with more letters than CTC can write in their frames are left out of both parts, and
    named in the log and in left_out.PART.tsv: neither losses nor error rates count them.

    Args:
        output: experiment folder.
        config: YAML file; `encoder_conf.speechlm` holds differences from the model in `init`, or
            from `config_size` without it.
        train_dir, dev_dir: data directories with text and utt2num_samples.
        init: folder of a finished pre-training; None: from scratch.
        options: options of `SpeechLMASRTask` by name; None: not given.
        espnet: further command line options of ESPnet.
    """
    folders = {"train": Path(train_dir), "valid": Path(dev_dir)}
    data = {part: _transcribed(folder) for part, folder in folders.items()}
    files = [
        option
        for part, folder in folders.items()
        for option in speech_options(part, folder, folder / "text", folder / "utt2num_samples")
    ]
    args = parse_training(SpeechLMASRTask, output, config, options, [*files, *espnet])
    check_conf("encoder_conf", args.encoder_conf, SpeechLMEncoder, ("input_size",))
    changes = dict(args.encoder_conf.get("speechlm", {}))
    if init is None:
        model = scratch_config(args.config_size, changes)
    else:
        model = load_config(init, **changes)[0]
        check_architecture(args.config_size, model, init)
        start_from(args, lambda: _initial_weights(init, changes))
        args.pretrained = str(init)
    for part, folder in folders.items():
        report = _impossible(data[part], folder / "text", model.ctc_framing)
        samples = data[part].samples()
        used = used_samples(report, samples, folder, Path(output), part, is_first_worker())
        setattr(args, f"{part}_shape_file", [str(used)])
    args.encoder_conf = {**args.encoder_conf, "speechlm": model.to_dict()}
    SpeechLMASRTask.main(args)
    return Path(output)


def _impossible(data: DataDir, text: Path, framing: Framing) -> Report:
    """The utterances whose transcripts CTC cannot write in their frames."""
    report = Report()
    for utterance, why in sorted(too_long(data.text or {}, data.samples(), framing).items()):
        report.leave_out(TOO_LONG, utterance, text, why)
    return report


def _initial_weights(
    init: str | os.PathLike[str], changes: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """A pre-trained model's weights under the names of the ESPnet model."""
    check_characters(init)
    model, _ = load_speechlm(init, **changes)
    encoder, output = split_weights(model.state_dict())
    weights = {f"encoder.{name}": value for name, value in encoder.items()}
    return weights | {f"ctc.ctc_lo.{name}": value for name, value in output.items()}


def _transcribed(folder: Path) -> DataDir:
    """A data directory with transcripts and numbers of samples.

    Raises:
        ValueError: it has none, or empty transcripts.
    """
    data = DataDir.read(folder)
    if data.text is None:
        raise ValueError(f"{folder}: transcripts expected, but {folder / 'text'} is not there")
    data.samples()
    empty = [utterance for utterance, text in data.text.items() if not text.strip()]
    if empty:
        raise ValueError(f"{folder / 'text'}: {len(empty)} transcripts are empty: {empty[:5]}")
    return data
