"""Emissions: a CTC model's log-probabilities of characters, computed once and kept as archives.

Tuning and every kind of decoding read them, so that the network runs once a set of utterances.
B utterances, S samples (16 kHz), T frames, V characters. A frame here is an output of the CTC head
(20 ms in all sizes), of which a fast model has two a frame of its own. Needs no ESPnet.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speechlm.checkpoints.ctc_encoder import CTCModel
from speechlm.conventions import SAMPLE_RATE
from speechlm.data.archives import ArchiveReader, ArchiveWriter, read_frame_shift, write_frame_shift
from speechlm.data.atomic import write_text
from speechlm.data.kaldi_dir import DataDir, read_table, show_ids
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode.extract import batches

NAME = "emissions"
"""Name of the archives: emissions.JOB.ark, emissions.JOB.scp, emissions.scp."""
TOO_SHORT = "shorter than a frame"
_EDGE = 5.0  # frames by which an utterance may be longer or shorter than its samples


def log_probabilities(
    model: CTCModel, waveforms: Sequence[Tensor | np.ndarray]
) -> list[np.ndarray]:
    """Natural log-probabilities (T, V) of each waveform (S,), float at 16 kHz, all in one batch.

    They do not depend on the waveforms beside it. A waveform shorter than a frame has none (T = 0).

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
    found = [np.zeros((0, CharacterVocabulary.n_ids), np.float32) for _ in waves]
    long = [n for n, wave in enumerate(waves) if len(wave) >= model.framing.window]
    if not long:
        return found
    device = next(model.parameters()).device
    lengths = torch.tensor([len(waves[n]) for n in long], device=device)
    batch = torch.nn.utils.rnn.pad_sequence([waves[n].float() for n in long], batch_first=True)
    logits, frames = model(batch.to(device), lengths)
    rows = logits.float().log_softmax(-1).cpu().numpy()
    for n, row, end in zip(long, rows, frames.tolist(), strict=True):
        found[n] = row[:end]
    return found


def check_emissions(emissions: np.ndarray, where: str) -> np.ndarray:
    """(T, V) log-probabilities as contiguous float32, after checks.

    Raises:
        ValueError: another shape or type, or values that are not finite.
    """
    emissions = np.asarray(emissions)
    if emissions.ndim != 2 or emissions.shape[1] != CharacterVocabulary.n_ids:
        raise ValueError(
            f"{where}: log-probabilities of shape (frames, {CharacterVocabulary.n_ids}) expected, "
            f"got {emissions.shape}"
        )
    if emissions.dtype.kind != "f":
        raise ValueError(f"{where}: floating-point values expected, got {emissions.dtype}")
    bad = np.flatnonzero(~np.isfinite(emissions).all(1))
    if len(bad):
        raise ValueError(
            f"{where}: {len(bad)} of {len(emissions)} frames have values that are not finite "
            f"(first: frame {bad[0]}); the network's weights, or the audio, are broken"
        )
    return np.ascontiguousarray(emissions, dtype=np.float32)


def emissions_of(
    model: CTCModel, data: DataDir, batch_samples: int
) -> Iterator[tuple[str, np.ndarray]]:
    """(id, (T, V)) of all utterances, those of like length together.

    Batches have at most `batch_samples` padded samples, and at least one utterance; padding does
    not change results.

    Raises:
        ValueError: values that are not finite; the utterance is named.
    """
    for ids in batches(data.samples(), batch_samples):
        found = log_probabilities(model, [data.waveform(utterance) for utterance in ids])
        for utterance, emissions in zip(ids, found, strict=True):
            yield utterance, check_emissions(emissions, utterance)


def write_emissions(
    model: CTCModel,
    data: DataDir,
    output: str | os.PathLike[str],
    *,
    source: str,
    job: int = 1,
    batch_samples: int = 3_200_000,
) -> None:
    """Write the emissions of a (part of a) data directory as archives.

    Beside them: `frame_shift`, `info.JOB.json` (model, utterances, seconds of audio and of work),
    and `skipped.JOB` with those utterances that are shorter than a frame.

    Args:
        model: in evaluation mode.
        data: with utt2num_samples.
        output: the folder.
        source: the model's folder.
        job: number of this part.
        batch_samples: padded samples of a batch.

    Raises:
        ValueError: see `emissions_of`.
    """
    folder, start = Path(output), time.perf_counter()
    skipped = []
    with ArchiveWriter(folder, NAME, job) as archive:
        for utterance, emissions in emissions_of(model, data, batch_samples):
            if len(emissions):
                archive.write(utterance, emissions)
            else:
                skipped.append(utterance)
    samples = data.samples()
    info = {
        "model": source,
        "utterances": len(samples),
        "audio_seconds": round(sum(samples.values()) / SAMPLE_RATE, 2),
        "seconds": round(time.perf_counter() - start, 2),
    }
    write_text(folder / f"info.{job}.json", json.dumps(info, indent=1) + "\n")
    write_text(folder / f"skipped.{job}", "".join(f"{u} {TOO_SHORT}\n" for u in sorted(skipped)))
    write_frame_shift(folder, model.framing.seconds)
    if skipped:
        logging.warning("%d utterances %s: %s", len(skipped), TOO_SHORT, show_ids(skipped))
    logging.info("emissions of %(utterances)d utterances in %(seconds).1f s", info)


class Emissions:
    """The archives of a folder, of which those of some utterances are wanted.

    Args:
        folder: of the archives.
        samples: of the utterances that are wanted.

    Raises:
        ValueError: there are none, or some of the utterances are neither in them nor among those
            that are too short.
    """

    def __init__(self, folder: str | os.PathLike[str], samples: Mapping[str, int]) -> None:
        self.folder, self._samples, ids = Path(folder), samples, list(samples)
        # archives without it are not compared with the audio
        shift = (self.folder / "frame_shift").is_file()
        self._shift = read_frame_shift(self.folder) * SAMPLE_RATE if shift else None
        self._reader = ArchiveReader(self.folder / f"{NAME}.scp")
        self._short = _too_short(self.folder)
        missing = [u for u in ids if u not in self._reader and u not in self._short]
        if missing:
            raise ValueError(
                f"{self.folder} lacks the emissions of {len(missing)} of {len(ids)} utterances: "
                f"{show_ids(missing)}; make them of the same data directory"
            )

    def __getitem__(self, utterance: str) -> np.ndarray:
        """(T, V) of an utterance; (0, V) of one that has no frame.

        Raises:
            ValueError: it is damaged, or not finite, or not as long as the audio is.
        """
        if utterance in self._short:
            found = np.zeros((0, CharacterVocabulary.n_ids), np.float32)
        else:
            found = check_emissions(self._reader[utterance], f"{self.folder}: {utterance}")
        if self._shift is not None:
            # A window is longer than a shift: an utterance has about one frame less than shifts;
            # with two CTC outputs a frame of the model one to three less.
            expected = self._samples[utterance] / self._shift
            if not expected - _EDGE <= len(found) <= expected + _EDGE:
                raise ValueError(
                    f"{self.folder}: {utterance} has {len(found)} frames, but {expected:.0f} or "
                    f"a few less are in {self._samples[utterance]} samples; the audio has changed, "
                    "or is of another set with such ids: make the emissions again"
                )
        return found


def _too_short(folder: Path) -> set[str]:
    return {u for path in folder.glob("skipped.*") for u in read_table(path, empty=True)}
