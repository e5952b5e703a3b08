"""Greedy CTC decoding of a data directory with a fine-tuned model.

B utterances, S samples (16 kHz), T frames (20 ms), V characters. Needs no ESPnet.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

from speechlm.checkpoints.ctc_encoder import CTCModel
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.atomic import output_file
from speechlm.data.audio import read_audio
from speechlm.data.kaldi_dir import DataDir, read_table, show_ids
from speechlm.data.vocabulary import CharacterVocabulary

SAMPLE_RATE = 16000
MIN_SAMPLES = 400
"""Samples of one frame; shorter utterances get an empty hypothesis."""
BEST = ("valid.cer_ctc.ave.pth", "valid.cer_ctc.best.pth")
"""Weights that a fine-tuning ends with, the preferred ones first."""


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

    weights: file name in the folder; None: the first of `BEST` that is there. An imported one has
    one file.

    Raises:
        ValueError: the folder holds no finished CTC fine-tuning of a SpeechLM.
    """
    path = Path(folder)
    if not (path / "config.yaml").is_file():
        raise ValueError(f"{path / 'config.yaml'} expected, but it is not there; fine-tune first")
    config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    if "imported_from" in config and weights is None:
        return CTCModel.of_folder(path).eval().to(device)
    if config.get("encoder") != "speechlm":
        raise ValueError(
            f"{path / 'config.yaml'}: encoder speechlm expected, found {config.get('encoder')}"
        )
    names = (weights,) if weights else BEST
    found = next((path / name for name in names if (path / name).is_file()), None)
    if found is None:
        raise ValueError(f"{path}: no {' or '.join(names)}; is the training finished?")
    model = CTCModel(config["encoder_conf"]["speechlm"])
    model.load_espnet(load_weights_only(found), str(found))
    return model.eval().to(device)


def decode(model: CTCModel, data: DataDir, batch_samples: int = 3_200_000) -> Decoded:
    """Greedy hypotheses of all utterances.

    Utterances are sorted by length and put together into batches of at most `batch_samples`
    padded samples (at least one utterance); padding does not change results.
    """
    vocabulary = CharacterVocabulary()
    device = next(model.parameters()).device
    start = time.perf_counter()
    text: dict[str, str] = {}
    total = 0
    for ids, waveforms, lengths in _batches(data, batch_samples):
        total += int(lengths.sum())
        if lengths.max() < MIN_SAMPLES:
            text |= dict.fromkeys(ids, "")
            continue
        logits, frames = model(waveforms.to(device), lengths.to(device))
        for utterance, row, n in zip(ids, logits.argmax(-1).cpu(), frames.tolist(), strict=True):
            text[utterance] = vocabulary.decode(collapse(row[:n].numpy(), vocabulary.blank))
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


def _batches(
    data: DataDir, batch_samples: int
) -> Iterator[tuple[list[str], torch.Tensor, torch.Tensor]]:
    """(ids, waveforms (B, S), samples (B,)), longest first; too short ones by themselves."""
    samples = data.samples()
    order = sorted(data.ids, key=lambda u: (-samples[u], u))
    batch: list[str] = []
    for utterance in order:
        short = samples[utterance] < MIN_SAMPLES
        full = batch and (len(batch) + 1) * samples[batch[0]] > batch_samples
        if batch and (full or (short and samples[batch[0]] >= MIN_SAMPLES)):
            yield _read(data, batch)
            batch = []
        batch.append(utterance)
    if batch:
        yield _read(data, batch)


def _read(data: DataDir, ids: list[str]) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    waves = [torch.from_numpy(read_audio(data.wav[u], SAMPLE_RATE)) for u in ids]
    lengths = torch.tensor([len(wave) for wave in waves])
    return ids, torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), lengths
