"""Adaptation of all speakers of a data directory, from transcripts or from a first decoding."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.kaldi_dir import DataDir
from speechlm.progress import progress
from speechlm.recognizer.model import AlignmentModel, Frames, Scores
from speechlm.recognizer.speakers import (
    Speaker,
    States,
    adaptation_utterances,
    estimate_speaker,
    save_speakers,
    speaker_of,
)
from speechlm.recognizer.utterance_graph import read_pronunciations


def states_of_transcripts(data: DataDir, model: AlignmentModel, lexicon: Path) -> States:
    """States by forced alignment of the transcripts.

    Raises:
        ValueError: the data directory has no text.
    """
    if data.text is None:
        raise ValueError("transcripts expected, but the data directory has no text; give --graph")
    pronunciations, text = read_pronunciations(lexicon), data.text

    def states(utterance: str, frames: Frames, scores: Scores, turn: int) -> np.ndarray | None:
        try:
            graph, path = model.align(text[utterance].split(), pronunciations, scores())
        except ValueError:
            return None
        return graph.pdf[path]

    return states


def states_of_decoding(
    model: AlignmentModel, graph: Path, phone_model: Path, lexicon: Path
) -> States:
    """States by decoding, then aligning the words found."""
    from speechlm.recognizer.decoding import FirstPass, SearchConfig, WordDecoder
    from speechlm.recognizer.network import Network

    config = SearchConfig.load(graph / "search.json")
    config.beam, config.max_active = min(config.beam, 8.0), min(config.max_active, 500)
    decoder = WordDecoder(graph, config)
    first = FirstPass(model, Network.load(phone_model), decoder, read_pronunciations(lexicon))
    return lambda utterance, frames, scores, turn: first.states(frames)


def adapt_data(
    data: DataDir,
    model: AlignmentModel,
    states_of: States,
    output: Path,
    *,
    job: int = 1,
    n_jobs: int = 1,
    speed: float = 1.0,
    max_seconds: float = 120.0,
    per_utterance: bool = False,
) -> dict[str, Speaker]:
    """Estimate the speakers of job `job` of `n_jobs` and write `speakers.JOB.npz`.

    Raises:
        ValueError: `job` out of range.
    """
    if not 1 <= job <= n_jobs:
        raise ValueError(f"--job from 1 to {n_jobs} expected, got {job}")
    members: dict[str, list[str]] = {}
    for utterance in data.ids:
        members.setdefault(speaker_of(data, utterance, per_utterance), []).append(utterance)
    start, seconds = time.process_time(), 0.0
    speakers = {}
    for name in progress(sorted(members)[job - 1 :: n_jobs], "speakers"):
        chosen = adaptation_utterances(data, members[name], max_seconds)
        seconds += sum(data.samples()[u] for u in chosen) / SAMPLE_RATE
        speakers[name] = estimate_speaker(model, data, chosen, states_of, speed)
    save_speakers(output / f"speakers.{job}.npz", speakers)
    for old in output.glob("speakers.*.npz"):  # of an earlier run with more jobs
        if int(old.name.split(".")[1]) > n_jobs:
            old.unlink(missing_ok=True)
    logging.info(
        "adapted %d speakers from %.1f s of audio in %.1f s CPU",
        len(speakers),
        seconds,
        time.process_time() - start,
    )
    return speakers
