"""Emissions of a CTC model, computed and written; `emissions` reads them.

B utterances, S samples (16 kHz), T frames of the CTC head, V characters. Needs no ESPnet.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speechlm.checkpoints.ctc_encoder import CTCModel
from speechlm.conventions import SAMPLE_RATE
from speechlm.data.archives import ArchiveWriter, write_frame_shift
from speechlm.data.atomic import write_text
from speechlm.data.kaldi_dir import DataDir, show_ids
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode.emissions import NAME, check_emissions
from speechlm.decode.extract import batches
from speechlm.progress import progress

TOO_SHORT = "shorter than a frame"


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
        found = emissions_of(model, data, batch_samples)
        for utterance, emissions in progress(found, "utterances", len(data)):
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
