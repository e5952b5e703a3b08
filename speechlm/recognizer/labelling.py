"""Labels of whole data directories: forced alignment of transcripts, with counts and failures."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speechlm.data.archives import ArchiveWriter, n_labels, write_unit_info
from speechlm.data.atomic import write_text
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import PHONES
from speechlm.progress import progress
from speechlm.recognizer.features import at_speed, mfcc
from speechlm.recognizer.made_up_noise import generator, with_sounds
from speechlm.recognizer.model import AlignmentModel, Frames
from speechlm.recognizer.speakers import Speaker, speaker_of
from speechlm.recognizer.topology import NOISE_ID
from speechlm.recognizer.utterance_graph import Pronunciations, check_unknown, unknown_words

FRAME_SHIFT = 0.01
SPEED = "speed"
"""File in a folder of alignments: how many times faster than its utterances the copies were."""
Scores = Callable[[Frames], np.ndarray]
"""Adapted frames -> (T, P) log-likelihoods of HMM states."""


@dataclass
class Outcome:
    """What a job did: utterances, frames, seconds of CPU; failures by id; incomplete decodes.

    `noise` counts the frames that are noise, `unknown` the words that were aligned as noise.
    """

    utterances: int = 0
    frames: int = 0
    cpu_seconds: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    partial: list[str] = field(default_factory=list)
    noise: int = 0
    unknown: Counter[str] = field(default_factory=Counter)

    def add(self, labels: np.ndarray) -> None:
        """Count an utterance with these labels (T,)."""
        self.utterances += 1
        self.frames += len(labels)
        self.noise += int((labels == NOISE_ID).sum())

    def write(self, folder: Path, job: int) -> None:
        """List failures, incomplete decodes and unknown words beside the archives."""
        write_text(
            folder / f"failed.{job}",
            "".join(f"{u} {why}\n" for u, why in sorted(self.failed.items())),
        )
        write_text(folder / f"partial.{job}", "".join(f"{u}\n" for u in sorted(self.partial)))
        words = sorted(self.unknown.items(), key=lambda item: (-item[1], item[0]))
        write_text(folder / f"unknown.{job}", "".join(f"{word} {n}\n" for word, n in words))

    def log(self, what: str) -> None:
        """Log the counts and the speed; `what` names the work."""
        audio = max(self.frames * FRAME_SHIFT, 1e-9)
        logging.info(
            "%s: %d utterances, %.1f s of audio, %.1f s CPU (real-time factor %.5f); "
            "%d failed, %d without a complete path; %.3f %% of the labels are noise",
            what,
            self.utterances,
            audio,
            self.cpu_seconds,
            self.cpu_seconds / audio,
            len(self.failed),
            len(self.partial),
            100 * self.noise / max(self.frames, 1),
        )


def utterance_frames(
    data: DataDir,
    model: AlignmentModel,
    speakers: dict[str, Speaker],
    per_utterance: bool,
    speed: float,
    outcome: Outcome,
) -> Iterator[tuple[str, Frames]]:
    """(id, adapted frames) of every usable utterance; the others go to `outcome`.

    Raises:
        ValueError: speakers without adaptation (named), or a frame count that disagrees with the
            audio.
    """
    missing = sorted({speaker_of(data, u, per_utterance) for u in data.ids} - set(speakers))
    if missing:
        raise ValueError(
            f"no adaptation for {len(missing)} speakers, e.g. {' '.join(missing[:5])}; "
            "run adapt_speakers on the same data"
        )
    for utterance in progress(data.ids, "utterances"):
        try:
            samples = data.waveform(utterance)
        except ValueError as error:
            outcome.failed[utterance] = str(error)
            continue
        cepstra = mfcc(samples, speed)
        if len(cepstra) == 0:
            outcome.failed[utterance] = f"{len(samples)} samples are less than one frame"
            continue
        if speed == 1.0 and len(cepstra) != n_labels(len(samples)):
            raise ValueError(f"{utterance}: {len(cepstra)} frames of {len(samples)} samples")
        speaker = speakers[speaker_of(data, utterance, per_utterance)]
        yield utterance, speaker.frames(model, cepstra)


def speed_mark(speed: float) -> str:
    """What ids of a copy at another speed begin with: `sp0.9-`; nothing at speed 1."""
    return "" if speed == 1.0 else f"sp{speed:g}-"


def read_speed(folder: Path) -> float:
    """The speed at which `align_data` aligned a folder's utterances.

    Raises:
        ValueError: the folder does not say.
    """
    path = folder / SPEED
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        raise ValueError(f"{path}, the speed of the copies, expected; align them again") from None


def align_data(
    data: DataDir,
    model: AlignmentModel,
    speakers: dict[str, Speaker],
    pronunciations: Pronunciations,
    output: Path,
    *,
    job: int = 1,
    speed: float = 1.0,
    per_utterance: bool = False,
    with_features: bool = False,
    scores: Scores | None = None,
) -> Outcome:
    """Forced alignment of a data directory into unit archives `units.JOB.{ark,scp}`.

    Words without a pronunciation become noise, SPN_S, and are listed in `unknown.JOB`.

    Args:
        speed: align a copy of the audio played this many times faster; ids get `spS-` in front.
        with_features: also write `feats.JOB` and `states.JOB`, to train the network. Copies at
            another speed then have sounds that are no speech in some of their pauses, with labels
            of noise (see `recognizer/made_up_noise.py`).
        scores: emission scores; those of the adapted Gaussians by default.

    Raises:
        ValueError: no transcripts, too many words without a pronunciation, or no adaptation for a
            speaker.
    """
    if data.text is None:
        raise ValueError("alignment needs transcripts, but the data directory has no text")
    check_unknown([word for text in data.text.values() for word in text.split()], pronunciations)
    score = scores or model.scores
    outcome, start = Outcome(), time.process_time()
    prefix = speed_mark(speed)
    with ExitStack() as stack:
        units = stack.enter_context(ArchiveWriter(output, "units", job))
        if with_features:
            feats = stack.enter_context(ArchiveWriter(output, "feats", job))
            states = stack.enter_context(ArchiveWriter(output, "states", job))
        stream = utterance_frames(data, model, speakers, per_utterance, speed, outcome)
        for utterance, frames in stream:
            words = data.text[utterance].split()
            outcome.unknown.update(unknown_words(words, pronunciations))
            try:
                graph, path = model.align(words, pronunciations, score(frames))
            except ValueError as error:
                outcome.failed[utterance] = str(error)
                continue
            labels, pdfs, features = graph.phone[path], graph.pdf[path], frames.network
            if with_features and speed != 1.0:
                samples = at_speed(data.waveform(utterance), speed)
                noise, rng = model.hmm.pdfs(NOISE_ID), generator(utterance, speed)
                samples, labels, pdfs = with_sounds(samples, labels, pdfs, noise, rng)
                speaker = speakers[speaker_of(data, utterance, per_utterance)]
                features = speaker.frames(model, mfcc(samples)).network
            units.write(prefix + utterance, labels)
            if with_features:
                feats.write(prefix + utterance, features)
                states.write(prefix + utterance, pdfs)
            outcome.add(labels)
    outcome.cpu_seconds = time.process_time() - start
    outcome.write(output, job)
    write_unit_info(output, FRAME_SHIFT, PHONES)
    write_text(output / SPEED, f"{speed:g}\n")
    outcome.log(f"aligned (job {job})")
    return outcome
