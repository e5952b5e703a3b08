"""A whole translation fine-tuning: from a recipe's options to an experiment folder."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from speechlm.checkpoints.fine_tuned import read_encoder
from speechlm.checkpoints.translation import VOCABULARY, read_decoder
from speechlm.checkpoints.warm_start import check_architecture
from speechlm.conventions import Framing
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report
from speechlm.data.target_text import TargetVocabulary
from speechlm.models.translation_decoder import TranslationDecoderConfig
from speechlm.tasks.common import (
    check_keys,
    is_first_worker,
    parse_training,
    scratch_config,
    speech_options,
    start_from,
)
from speechlm.tasks.left_out import used_samples
from speechlm.tasks.st import MASKS, SpeechLMSTTask

MAX_UNKNOWN_SHARE = 0.01
"""Share of characters of the targets that the vocabulary may lack."""
MAX_TOKENS = 1024
"""Longer targets, EOS counted, are left out of training and validation (the authors' limit)."""


@dataclasses.dataclass(frozen=True)
class TranslationData:
    """What to train on."""

    train_dir: str | os.PathLike[str]
    """Data directory with utt2num_samples and text.LANG."""
    dev_dir: str | os.PathLike[str]
    """The same for validation."""
    language: str
    """LANG, the target."""
    vocabulary: str | os.PathLike[str]
    """Folder that train_vocabulary has made."""


def finetune_st(
    output: str | os.PathLike[str],
    config: str | None,
    data: TranslationData,
    init: str | os.PathLike[str] | None,
    init_decoder: str | os.PathLike[str] | None,
    options: Mapping[str, Any],
    espnet: Sequence[str] = (),
) -> Path:
    """Fine-tune on translations; an interrupted training goes on where it was.

    Utterances with too long a target, or shorter than a frame of the encoder, are left out of both
    parts, and listed in left_out.PART.tsv.

    Args:
        output: experiment folder.
        config: YAML file; `encoder_conf.speechlm` holds differences from the model in `init`, or
            from `config_size` without it; `decoder_conf` the decoder's from Base's.
        data: speech, translations and vocabulary.
        init: folder of a trained SpeechLM (see `read_encoder`); None: from scratch.
        init_decoder: folder with a trained translation decoder; None: it starts at random.
        options: options of `SpeechLMSTTask` by name; None: not given.
        espnet: further command line options of ESPnet.
    """
    vocabulary = TargetVocabulary.read(data.vocabulary)
    folders = {"train": Path(data.train_dir), "valid": Path(data.dev_dir)}
    samples: dict[str, dict[str, int]] = {}
    reports: dict[str, Report] = {}
    arguments: list[str] = []
    for part, source in folders.items():
        samples[part], reports[part] = _checked(source, data.language, vocabulary)
        text = source / f"text.{data.language}"
        arguments += speech_options(part, source, text, source / "utt2num_samples")
    args = parse_training(SpeechLMSTTask, output, config, options, [*arguments, *espnet])
    check_keys(args.encoder_conf, (*MASKS, "speechlm"), "encoder_conf")
    changes = dict(args.encoder_conf.get("speechlm", {}))
    weights: dict[str, torch.Tensor] = {}
    if init is None:
        size = scratch_config(args.config_size, changes)
    else:
        size, encoder = read_encoder(init, changes)
        check_architecture(args.config_size, size, init)
        weights |= {f"model.speechlm.{name}": value for name, value in encoder.items()}
    for part, source in folders.items():
        _leave_out_short(reports[part], samples[part], source, size.framing)
        used = used_samples(
            reports[part], samples[part], source, Path(output), part, is_first_worker()
        )
        setattr(args, f"{part}_shape_file", [str(used)])
    decoder = TranslationDecoderConfig.from_dict(
        {"encoder_dim": size.embed_dim, **args.decoder_conf}
    )
    if init_decoder is not None:
        found = read_decoder(init_decoder, decoder, vocabulary.tokens)
        weights |= {f"model.decoder.{name}": value for name, value in found.items()}
    args.encoder_conf = {**args.encoder_conf, "speechlm": size.to_dict()}
    args.decoder_conf = decoder.to_dict()
    folder = Path(output)
    keep_vocabulary(vocabulary, folder / VOCABULARY)
    if weights:
        start_from(args, lambda: weights)
    SpeechLMSTTask.main(args)
    return folder


def keep_vocabulary(vocabulary: TargetVocabulary, folder: Path) -> None:
    """Copy a vocabulary into the training's folder.

    Raises:
        ValueError: another one is there.
    """
    if is_first_worker() and not folder.exists():
        vocabulary.write(folder, {})
    for _ in range(600):  # the other workers wait for the first one
        if folder.exists():
            break
        time.sleep(0.1)
    there = TargetVocabulary.read(folder)
    if there.model != vocabulary.model or there.options != vocabulary.options:
        raise ValueError(
            f"{folder} is another vocabulary than {vocabulary.source}: the training of this folder "
            "was begun with it; choose another output"
        )


def _checked(
    folder: Path, language: str, vocabulary: TargetVocabulary
) -> tuple[dict[str, int], Report]:
    """Samples of a data directory's utterances, and a report of those with too long a target."""
    data = DataDir.read(folder)
    try:
        targets = data.translation(language)
        samples = data.samples()
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    path = folder / f"text.{language}"
    found = vocabulary.check_coverage(targets, str(path), MAX_UNKNOWN_SHARE)
    if found.unknown:
        logging.warning("%s: %s", path, found.summary())
    lengths = {u: len(vocabulary.encode(sentence)) for u, sentence in targets.items()}
    empty = [u for u, n_tokens in lengths.items() if n_tokens == 1]
    if empty:
        raise ValueError(
            f"{path}: {len(empty)} translations are empty in the style "
            f"{vocabulary.options.style}: {' '.join(empty[:5])}; leave them out"
        )
    report = Report()
    for utterance in samples:
        if lengths[utterance] > MAX_TOKENS:
            detail = f"{lengths[utterance]} tokens, {MAX_TOKENS} at most"
            report.filter("target too long", utterance, path, detail)
    return samples, report


def _leave_out_short(
    report: Report, samples: Mapping[str, int], folder: Path, framing: Framing
) -> None:
    """Add those to a report that have no frame: a dump has what is at least 25 ms long."""
    listed = {item.utterance for item in report.items}
    for utterance, n in samples.items():
        if n < framing.window and utterance not in listed:
            detail = f"{n} samples, a frame has {framing.window}"
            report.filter("too short", utterance, folder / "wav.scp", detail)
