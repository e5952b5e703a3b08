"""Features of the utterances of a data directory, made on the fly or read from archives.

What cannot be used is left out, with a reason, and never ends a run: no audio, damaged audio,
audio of another length than utt2num_samples says, silence, less than two frames. Archives that do
not fit the audio are refused, because they belong to something else.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from speechlm.conventions import SAMPLE_RATE, Framing
from speechlm.data.archives import (
    ArchiveReader,
    ArchiveWriter,
    fit_to_audio,
    read_frame_shift,
    write_frame_shift,
)
from speechlm.data.atomic import output_file, write_text
from speechlm.data.kaldi_dir import DataDir, show_ids
from speechlm.progress import progress
from speechlm.tokenizers.speech_features import FeatureConfig, FeatureSource

NAME = "feats"
CONFIG = "features.json"
QUIET = 1e-3
"""Audio that nowhere leaves its mean by more than this (-60 dB of full scale) is silence."""
MIN_FRAMES = 2


class FeatureArchive:
    """Features that `write_features` has written."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        path = self.folder / CONFIG
        if not path.is_file():
            raise ValueError(f"{path} expected, but it is not there: no known features in {folder}")
        self.config = FeatureConfig.from_json(path.read_text(encoding="utf-8"), str(path))
        self.frame_shift = read_frame_shift(self.folder)
        self.framing = Framing(self.config.window, round(self.frame_shift * SAMPLE_RATE))
        self._reader = ArchiveReader(self.folder / f"{NAME}.scp")

    def features(self, utterance: str, n_samples: int) -> np.ndarray | None:
        """(T, D), or None if there are none.

        Raises:
            ValueError: more than one frame too many or few.
        """
        if utterance not in self._reader:
            return None
        array = self._reader[utterance]
        if array.ndim != 2 or array.shape[1] != self.config.dim:
            raise ValueError(
                f"{self.folder}: features of {self.config.dim} dimensions expected for "
                f"{utterance}, found an array of shape {array.shape}"
            )
        expected = self.framing.frames(n_samples)
        return fit_to_audio(array, expected, f"{self.folder}: {utterance}", "frames")


Features = FeatureSource | FeatureArchive


def stream(
    data: DataDir, source: Features, skipped: dict[str, str]
) -> Iterator[tuple[str, np.ndarray]]:
    """(utterance, (T, D) float32) in the order of the ids; `skipped` gets the reasons of others.

    Raises:
        ValueError: archives that do not fit the audio.
    """
    samples = data.samples()
    for utterance in progress(data.ids, "utterances"):
        if isinstance(source, FeatureArchive):
            features = source.features(utterance, samples[utterance])
            reason = f"no features in {source.folder}" if features is None else None
        else:
            features, reason = _compute(source, data, utterance)
        if features is None:
            skipped[utterance] = str(reason)
        elif len(features) < MIN_FRAMES:
            skipped[utterance] = f"{len(features)} frames, fewer than {MIN_FRAMES}"
        elif not np.isfinite(features).all():
            skipped[utterance] = "some features are not finite numbers"
        else:
            yield utterance, features


def _compute(source: FeatureSource, data: DataDir, utterance: str) -> tuple[np.ndarray | None, str]:
    """Features, or None and why not."""
    try:
        waveform = data.waveform(utterance)
    except ValueError as error:
        return None, str(error)
    audio = data.audio(utterance)
    if source.framing.frames(len(waveform)) < MIN_FRAMES:
        least = source.framing.samples(MIN_FRAMES)
        return None, f"{audio}: {len(waveform)} samples, {MIN_FRAMES} frames have {least}"
    if np.abs(waveform - waveform.mean()).max() < QUIET:
        return None, f"{audio}: silence only"
    return source(waveform), ""


def write_features(
    data: DataDir, source: FeatureSource, folder: str | os.PathLike[str], job: int = 1
) -> int:
    """Write `feats.JOB.{ark,scp}`, `features.json`, `frame_shift` and `skipped.JOB`.

    Returns:
        The number of utterances.
    """
    skipped: dict[str, str] = {}
    count = 0
    with ArchiveWriter(folder, NAME, job) as writer:
        for utterance, features in stream(data, source, skipped):
            writer.write(utterance, features)
            count += 1
    write_frame_shift(folder, source.framing.seconds)
    write_text(Path(folder) / CONFIG, source.config.to_json() + "\n")
    report_skipped(folder, job, skipped)
    return count


def report_skipped(folder: str | os.PathLike[str], job: int, skipped: dict[str, str]) -> None:
    """List what was left out in `skipped.JOB`, one `id reason` a line, and log how many."""
    with output_file(Path(folder) / f"skipped.{job}") as path:
        lines = (f"{u} {' '.join(why.split())}\n" for u, why in sorted(skipped.items()))
        path.write_text("".join(lines), encoding="utf-8")
    if skipped:
        first = [f"{u} ({why})" for u, why in sorted(skipped.items())]
        logging.warning("%s: %d utterances left out: %s", folder, len(skipped), show_ids(first))
