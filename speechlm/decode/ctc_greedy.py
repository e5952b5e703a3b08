"""Greedy CTC decoding with a fine-tuned model: of waveforms, of audio files, of a data directory.

B utterances, S samples (16 kHz), T frames, V characters. Needs no ESPnet.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speechlm.checkpoints.ctc_encoder import BEST, CTCModel
from speechlm.checkpoints.model_dir import WEIGHTS
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.conventions import SAMPLE_RATE
from speechlm.data.atomic import output_file
from speechlm.data.audio import decode_any, resample
from speechlm.data.kaldi_dir import DataDir, read_table, show_ids
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.data.yaml_file import read_yaml
from speechlm.decode.extract import batches


@dataclass
class Decoded:
    """Hypotheses of a data directory, and what they took."""

    text: dict[str, str]
    audio_seconds: float
    seconds: float

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for a second of audio."""
        return self.seconds / max(self.audio_seconds, 1e-9)


def load_model(
    folder: str | os.PathLike[str], weights: str | None = None, device: str = "cpu"
) -> CTCModel:
    """The model of a fine-tuning's or an imported fine-tuning's folder, in evaluation mode.

    Args:
        folder: of the fine-tuning.
        weights: file name in the folder; None: the first of `BEST` that is there. An imported
            fine-tuning has one file.
        device: where to put the model.

    Raises:
        ValueError: the folder holds no finished CTC fine-tuning of a SpeechLM.
    """
    path = Path(folder)
    config = read_yaml(path / "config.yaml", "; fine-tune first")
    if "kind" in config:  # a model folder; that of a fine-tuning is ESPnet's and has no such entry
        if config["kind"] != "ctc":
            raise ValueError(
                f"{path} holds a model of kind {config['kind']}, not ctc; fine-tune it first "
                "(finetune_asr)"
            )
        if weights not in (None, WEIGHTS):
            raise ValueError(f"{path} has one file of weights, {WEIGHTS}, got {weights}")
        return CTCModel.of_folder(path).eval().to(device)
    if config.get("encoder") != "speechlm":
        raise ValueError(
            f"{path / 'config.yaml'}: encoder speechlm expected, found {config.get('encoder')}"
        )
    names = (weights,) if weights else BEST
    found = next((path / name for name in names if os.path.lexists(path / name)), None)
    if found is None:
        raise ValueError(f"{path}: no {' or '.join(names)}; is the training finished?")
    conf = config.get("encoder_conf")
    if not isinstance(conf, dict) or not isinstance(conf.get("speechlm"), dict):
        raise ValueError(f"{path / 'config.yaml'}: values expected in encoder_conf.speechlm")
    model = CTCModel(conf["speechlm"])
    model.load_espnet(load_weights_only(found), str(found))
    return model.eval().to(device)


def decode_waveforms(model: CTCModel, waveforms: Sequence[Tensor | np.ndarray]) -> list[str]:
    """Greedy hypothesis of each waveform (S,), float at 16 kHz, all in one batch.

    A hypothesis does not depend on the waveforms beside it. That of a waveform which is shorter
    than a frame is empty.

    Raises:
        ValueError: a waveform has another shape, or samples that are no floating-point numbers.
    """
    waves = [torch.as_tensor(waveform) for waveform in waveforms]
    for n, wave in enumerate(waves):
        if wave.dim() != 1 or not wave.is_floating_point():
            raise ValueError(
                f"waveform {n}: floating-point samples in [-1, 1] of shape (samples,) expected, "
                f"got {wave.dtype} of shape {tuple(wave.shape)}"
            )
    text = [""] * len(waves)
    long = [n for n, wave in enumerate(waves) if len(wave) >= model.framing.window]
    if not long:
        return text
    device, vocabulary = next(model.parameters()).device, CharacterVocabulary()
    lengths = torch.tensor([len(waves[n]) for n in long], device=device)
    batch = torch.nn.utils.rnn.pad_sequence([waves[n].float() for n in long], batch_first=True)
    logits, frames = model(batch.to(device), lengths)
    paths = logits.argmax(-1).cpu().numpy()
    for n, path, end in zip(long, paths, frames.tolist(), strict=True):
        text[n] = vocabulary.decode(collapse(path[:end], vocabulary.blank))
    return text


def decode_file(model: CTCModel, path: str | os.PathLike[str]) -> str:
    """Greedy hypothesis of an audio file of any rate and format; channels are mixed.

    Raises:
        ValueError: the file is missing, damaged, or nothing but digital silence.
    """
    waveform, rate = decode_any(path, mix_channels=True)
    return decode_waveforms(model, [resample(waveform, rate, SAMPLE_RATE)])[0]


def decode(model: CTCModel, data: DataDir, batch_samples: int = 3_200_000) -> Decoded:
    """Greedy hypotheses of all utterances.

    Utterances are sorted by length and put together into batches of at most `batch_samples`
    padded samples (at least one utterance); padding does not change results. Utterances shorter
    than a frame get an empty hypothesis.
    """
    start = time.perf_counter()
    text: dict[str, str] = {}
    total = 0
    for ids in batches(data.samples(), batch_samples):
        waveforms = [data.waveform(utterance) for utterance in ids]
        total += sum(map(len, waveforms))
        text |= zip(ids, decode_waveforms(model, waveforms), strict=True)
    seconds = time.perf_counter() - start
    result = Decoded(dict(sorted(text.items())), total / SAMPLE_RATE, seconds)
    logging.info(
        "%d utterances, %.1f s of audio in %.1f s: real-time factor %.4f",
        len(text),
        result.audio_seconds,
        seconds,
        result.real_time_factor,
    )
    return result


def collapse(path: np.ndarray, blank: int) -> np.ndarray:
    """Remove repeats, then blanks, of the best label of each frame: (T,) -> (U,)."""
    changes = np.ones(len(path), bool)
    changes[1:] = path[1:] != path[:-1]
    return path[changes & (path != blank)]


def decode_dir(
    model: str | os.PathLike[str],
    data_dir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    weights: str | None = None,
    batch_samples: int = 3_200_000,
    device: str = "cpu",
) -> Decoded:
    """Decode a data directory and write `output/text`."""
    decoded = decode(load_model(model, weights, device), DataDir.read(data_dir), batch_samples)
    write_hypotheses(Path(output) / "text", decoded.text)
    return decoded


def merge_hypotheses(folders: list[str], output: str | os.PathLike[str]) -> int:
    """Join the `text` of several jobs, sorted; returns the number of utterances."""
    merged: dict[str, str] = {}
    for folder in folders:
        path = Path(folder) / "text"
        if not path.is_file():
            raise ValueError(f"{path} expected, but it is not there; has this job failed?")
        part = read_table(path, empty=True)
        double = sorted(part.keys() & merged.keys())
        if double:
            raise ValueError(f"{path}: ids that another job has too: {show_ids(double)}")
        merged |= part
    write_hypotheses(Path(output) / "text", merged)
    return len(merged)


def write_hypotheses(path: Path, text: dict[str, str]) -> None:
    """Write `id words` lines in the order of the C locale; an empty hypothesis is the id alone."""
    with output_file(path) as temporary:
        lines = (f"{utterance} {text[utterance]}".rstrip() + "\n" for utterance in sorted(text))
        temporary.write_text("".join(lines), encoding="utf-8")
