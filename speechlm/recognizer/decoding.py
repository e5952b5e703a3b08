"""Decoding: network scores through the search graph to words, words to 10 ms phone labels."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.data.archives import ArchiveWriter, write_unit_info
from speechlm.data.atomic import write_text
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import PHONES
from speechlm.data.whole_files import read_json, reading
from speechlm.lm.search import Beam, GraphSearch
from speechlm.recognizer.labelling import FRAME_SHIFT, Outcome, utterance_frames
from speechlm.recognizer.model import AlignmentModel, Frames
from speechlm.recognizer.network import Network, joint_scores
from speechlm.recognizer.noise import NOISE_CLASS, entering, with_noise
from speechlm.recognizer.search_graph import read_unknown
from speechlm.recognizer.speakers import Speaker
from speechlm.recognizer.topology import N_STATES
from speechlm.recognizer.utterance_graph import Pronunciations

Scores = Callable[[str, Frames], tuple[np.ndarray, np.ndarray]]
"""(utterance id, adapted frames) -> (U, n_classes) scores of context classes every 30 ms, and
(T, P) of HMM states every 10 ms: log posteriors less log priors."""


@dataclass
class SearchConfig:
    """Beam search over the graph.

    Raises:
        ValueError: values with which nothing can be found.
    """

    acoustic_scale: float = 1.0
    """Factor of the network's scores (one step = 30 ms)."""
    beam: float = 9.0
    max_active: int = 1000
    min_active: int = 20
    noise_rate: float = 0.01
    """Share of the words that are expected to be noise; 0: none is looked for."""
    noise_margin: float = 4.0
    """Nats by which noise may score less than the best phone, at most, before the scale."""

    def __post_init__(self) -> None:
        noise = 0 <= self.noise_rate < 1 and 0 <= self.noise_margin < math.inf
        if not (0 < self.acoustic_scale < math.inf and noise):
            raise ValueError(
                f"acoustic_scale {self.acoustic_scale}, noise_rate {self.noise_rate}, noise_margin "
                f"{self.noise_margin}: a scale above 0, a rate from 0 to below 1 and a margin of 0 "
                "or more expected"
            )

    @staticmethod
    def load(path: Path) -> SearchConfig:
        """Read the tuned values, or the defaults if there are none.

        Raises:
            ValueError: the file is damaged, or holds other values.
        """
        if not path.exists():
            return SearchConfig()
        advice = "tune_decoding makes it"
        values = read_json(path, "values of the search", advice)
        with reading(path, "values of the search", advice):
            return SearchConfig(**values)

    def save(self, path: Path) -> None:
        """Write the values as JSON."""
        write_text(path, json.dumps(vars(self), indent=1) + "\n")


class WordDecoder:
    """The recogniser's search graph in memory: class scores to words.

    Where the network knows noise, it is the word `UNKNOWN` (see `recognizer/noise.py`).
    """

    def __init__(self, graph: Path, config: SearchConfig) -> None:
        self._search, self.config = GraphSearch(graph), config
        self._unknown = read_unknown(graph / "info.json")
        self._graph = graph / "graph.fst"
        self._columns = int(self._search.arrays.arcs["input"].max(initial=0))

    @property
    def finds_noise(self) -> bool:
        """Whether noise is a word of the graph."""
        return self._unknown is not None

    def decode(self, scores: np.ndarray) -> tuple[list[str], bool]:
        """(U, n_classes) scores -> words, and whether a final state was reached.

        Without a final state the words are those of the best unfinished path.

        Raises:
            ValueError: the graph is of a network with more classes.
        """
        config = self.config
        if self._unknown is not None:
            # (U, n_classes + 1): the last column is the first step of noise
            scores = with_noise(scores, config.noise_margin)
            enter = scores[:, NOISE_CLASS] + (
                entering(config.noise_rate, self._unknown) / config.acoustic_scale
            )
            scores = np.column_stack([scores, enter])
        if scores.shape[1] < self._columns:  # the search would read what is behind the scores
            raise ValueError(
                f"{self._graph}: a graph of this network expected, but it reads {self._columns} "
                f"columns of scores, and there are {scores.shape[1]}; make it again (make_graph "
                "--phone_model)"
            )
        beam = Beam(config.beam, config.max_active, config.min_active)
        return self._search.decode(scores * config.acoustic_scale, beam)


def label_words(
    words: Sequence[str], model: AlignmentModel, pronunciations: Pronunciations, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """10 ms output phones (T,) and states (T,) of decoded words.

    The search at 30 ms may give a phone its three frames beyond the end: then the last frame is
    repeated for the alignment, and cut off again.

    Raises:
        ValueError: far too few frames for the words.
    """
    extra = 0
    while True:
        padded = np.concatenate([scores, np.repeat(scores[-1:], extra, axis=0)])
        try:
            graph, path = model.align(words, pronunciations, padded)
            break
        except ValueError:
            if extra >= 2 * N_STATES:
                raise
            extra += N_STATES
    path = path[: len(scores)]
    return graph.phone[path], graph.pdf[path]


class FirstPass:
    """States of audio without transcripts, for speaker adaptation: words found, then aligned."""

    def __init__(
        self,
        model: AlignmentModel,
        network: Network,
        decoder: WordDecoder,
        pronunciations: Pronunciations,
    ) -> None:
        self.model, self.network, self.decoder = model, network, decoder
        self.pronunciations = pronunciations

    def states(self, frames: Frames) -> np.ndarray | None:
        """Frames under the current transforms -> (T,) states, or None."""
        class_scores, state_scores = self.network.scores(frames.network)
        words, _ = self.decoder.decode(class_scores)
        try:
            return label_words(words, self.model, self.pronunciations, state_scores)[1]
        except ValueError:
            return None


def by_network(network: Network) -> Scores:
    """The recogniser's own scores."""
    return lambda utterance, frames: network.scores(frames.network)


@dataclass(frozen=True)
class DecodedWords:
    """The words of a decoding, beside its labels."""

    text: dict[str, str]
    """Words by utterance; noise is `UNKNOWN`."""
    search_seconds: float
    """CPU seconds of the search."""
    outcome: Outcome


def decode_data(
    data: DataDir,
    model: AlignmentModel,
    score: Scores,
    decoder: WordDecoder,
    speakers: dict[str, Speaker],
    pronunciations: Pronunciations,
    output: Path,
    *,
    job: int = 1,
    per_utterance: bool = False,
) -> DecodedWords:
    """Decode a data directory into unit archives; failures and the like are listed beside them.

    Args:
        data: what is decoded.
        model: the Gaussians, which place boundaries together with the scores.
        score: the scores, such as `by_network` or those of `decode/phone_scores.py`.
        decoder: the search.
        speakers: adaptation of the Gaussians' (and the network's) features.
        pronunciations: of the graph's words.
        output: folder of the archives.
        job: number of this part.
        per_utterance: every utterance is a speaker of its own.
    """
    outcome, start = Outcome(), time.process_time()
    parts = dict.fromkeys(("scores", "search", "labels"), 0.0)
    text: dict[str, str] = {}
    with ExitStack() as stack:
        units = stack.enter_context(ArchiveWriter(output, "units", job))
        stream = utterance_frames(data, model, speakers, per_utterance, 1.0, outcome)
        for utterance, frames in stream:
            clock = [time.process_time()]
            try:
                class_scores, state_scores = score(utterance, frames)
            except ValueError as error:
                outcome.failed[utterance] = str(error)
                continue
            clock.append(time.process_time())
            words, complete = decoder.decode(class_scores)
            clock.append(time.process_time())
            text[utterance] = " ".join(words)
            try:
                scores = joint_scores(model, frames, state_scores)
                labels, _ = label_words(words, model, pronunciations, scores)
            except ValueError as error:
                outcome.failed[utterance] = str(error)
                continue
            clock.append(time.process_time())
            for name, seconds in zip(parts, np.diff(clock), strict=True):
                parts[name] += seconds
            if not complete:
                outcome.partial.append(utterance)
            units.write(utterance, labels)
            outcome.add(labels)
    outcome.cpu_seconds = time.process_time() - start
    outcome.write(output, job)
    write_unit_info(output, FRAME_SHIFT, PHONES)
    outcome.log(f"decoded (job {job})")
    logging.info("CPU seconds: %s", {name: round(float(value), 2) for name, value in parts.items()})
    return DecodedWords(text, float(parts["search"]), outcome)
