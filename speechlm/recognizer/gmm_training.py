"""Flat-start training of the Gaussian models: cepstra with deltas, MLLT, speaker-adapted.

On the last alignment, Gaussians in the network's space are trained too: its speaker transforms are
estimated with them.

Everything is held in memory: train on a subset (`max_hours`) of a large corpus; the alignment of
the rest is a separate, parallel step.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speechlm.data.atomic import write_text
from speechlm.data.kaldi_dir import DataDir
from speechlm.progress import Progress, progress
from speechlm.recognizer.features import deltas, mean_normalizer, mfcc, normalize, splice
from speechlm.recognizer.gmm import (
    Gmm,
    expectation_maximization,
    single_gaussians,
    split_components,
)
from speechlm.recognizer.model import AlignmentModel, Space
from speechlm.recognizer.speakers import adaptation_utterances
from speechlm.recognizer.topology import N_PDFS, N_STATES
from speechlm.recognizer.transforms import (
    FmllrStatistics,
    apply,
    estimate_fmllr,
    fmllr_statistics,
    lda,
    mllt,
    moved,
)
from speechlm.recognizer.utterance_graph import (
    Hmm,
    Pronunciations,
    check_unknown,
    count_transitions,
    initial_hmm,
    uniform_states,
    utterance_graph,
    variants,
)
from speechlm.recognizer.viterbi import best_path

N_NETWORK = 40
"""Features of the network."""


@dataclass
class GmmConfig:
    """Schedule: Gaussians a state after each realignment of every phase."""

    monophone: tuple[int, ...] = (1, 1, 2, 2, 3, 4, 6, 8, 10, 12)
    """Growth of the first model (cepstra with deltas)."""
    projected: tuple[int, ...] = (12, 14, 16)
    """Growth of the model on MLLT features."""
    adapted: tuple[int, ...] = (16, 18, 20, 20)
    """Growth of the speaker-adapted model; transforms are estimated anew each time."""
    network: tuple[int, ...] = (8, 10, 12)
    """Growth of the model in the network's space (LDA), the alignment staying as it is."""
    steps: int = 2
    """EM steps after each realignment."""
    prior_frames: float = 500.0
    """Weight of the prior of the speaker transforms, in frames."""


@dataclass
class Corpus:
    """Utterances in memory: ids, speakers, words, and (T, 20) normalised cepstra."""

    ids: list[str]
    speakers: list[str]
    words: list[list[str]]
    cepstra: list[np.ndarray]
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def bounds(self) -> np.ndarray:
        """(U + 1,): utterance u is frames bounds[u] .. bounds[u + 1] - 1 of all together."""
        return np.cumsum([0] + [len(x) for x in self.cepstra])

    def write_failed(self, path: Path) -> None:
        """List what could not be used, one utterance and reason a line."""
        write_text(path, "".join(f"{u} {why}\n" for u, why in self.failed.items()))
        if self.failed:
            logging.warning("%d utterances were not used: see %s", len(self.failed), path)


def load_corpus(data: DataDir, max_hours: float) -> Corpus:
    """Read (at most `max_hours` of) a data directory, evenly chosen.

    Raises:
        ValueError: no transcripts.
    """
    if data.text is None:
        raise ValueError("transcripts expected, but the data directory has no text")
    ids = adaptation_utterances(data, data.ids, 3600.0 * max_hours)
    failed, kept, cepstra = {}, [], []
    for utterance in progress(ids, "utterances read"):
        try:
            cepstra.append(mfcc(data.waveform(utterance)))
            kept.append(utterance)
        except ValueError as error:
            failed[utterance] = str(error)
    speakers = [data.utt2spk[u] for u in kept]
    words = [data.text[u].split() for u in kept]
    return Corpus(kept, speakers, words, normalize_speakers(cepstra, speakers), failed)


def normalize_speakers(cepstra: Sequence[np.ndarray], speakers: Sequence[str]) -> list[np.ndarray]:
    """Per-speaker mean and variance normalisation of raw cepstra."""
    members: dict[str, list[int]] = {}
    for number, speaker in enumerate(speakers):
        members.setdefault(speaker, []).append(number)
    out: list[np.ndarray] = [np.empty(0)] * len(cepstra)
    for numbers in members.values():
        together = np.concatenate([cepstra[n] for n in numbers])
        if not len(together):
            together = np.zeros((1, together.shape[1]), dtype=np.float32)
        # a speaker's utterances together; one without a frame counts as a frame of zeros
        statistics = mean_normalizer(together)
        for n in numbers:
            out[n] = normalize(cepstra[n], *statistics).astype(np.float32)
    return out


class _Trainer:
    """State of one training run: current frames, alignment and HMM probabilities."""

    def __init__(self, corpus: Corpus, pronunciations: Pronunciations, config: GmmConfig) -> None:
        self.config = config
        self.pronunciations = pronunciations
        self.corpus = self._usable(corpus)
        self.hmm = initial_hmm(self.corpus.words, pronunciations)
        self.bounds = self.corpus.bounds
        self.states = np.concatenate(
            [
                uniform_states(w, pronunciations, self.hmm, len(x))
                for w, x in zip(self.corpus.words, self.corpus.cepstra, strict=True)
            ]
        )

    def _usable(self, corpus: Corpus) -> Corpus:
        keep = []
        check_unknown([word for words in corpus.words for word in words], self.pronunciations)
        for n, (words, cepstra) in enumerate(zip(corpus.words, corpus.cepstra, strict=True)):
            # a frame for each state of silence, the words' first variants, silence
            need = N_STATES * (2 + sum(len(variants(w, self.pronunciations)[0]) for w in words))
            if len(cepstra) < need:
                corpus.failed[corpus.ids[n]] = f"{len(cepstra)} frames, its words need {need}"
                continue
            keep.append(n)
        if not keep:
            first = next(iter(corpus.failed.items()), ("none", "no utterance"))
            raise ValueError(
                f"no usable utterance of {len(corpus.ids)}; the first: {first[0]}: {first[1]}"
            )

        def pick(items: list) -> list:
            return [items[n] for n in keep]

        return Corpus(
            pick(corpus.ids),
            pick(corpus.speakers),
            pick(corpus.words),
            pick(corpus.cepstra),
            corpus.failed,
        )

    def realign(self, gmm: Gmm, frames: np.ndarray) -> None:
        """Best path of every utterance; an utterance without one keeps its alignment."""
        paths, states = [], self.states.copy()
        for n, words in enumerate(self.corpus.words):
            # the utterance's rows of `frames` (T, D) and of the alignment (T,)
            a, b = self.bounds[n], self.bounds[n + 1]
            graph = utterance_graph(words, self.pronunciations, self.hmm)
            try:
                _, path = best_path(graph, gmm.log_likelihoods(frames[a:b]))
            except ValueError:
                continue
            states[a:b] = graph.pdf[path]
            paths.append((graph, path))
        moved = float((states != self.states).mean())
        self.states = states
        self.hmm = Hmm(self.hmm.classes, *count_transitions(paths))
        logging.info("realigned: %.1f %% of the frames moved", 100 * moved)

    def grow(self, gmm: Gmm, frames: np.ndarray, per_state: int) -> Gmm:
        """Split to `per_state` components and run the EM steps."""
        floor = 0.01 * frames.var(axis=0).astype(np.float64)
        counts = np.bincount(self.states, minlength=N_PDFS)
        gmm = split_components(gmm, counts, per_state)
        for _ in range(self.config.steps):
            gmm, loglik = expectation_maximization(gmm, frames, self.states, floor)
        logging.info("%d Gaussians, log-likelihood %.3f a frame", gmm.n_components, loglik)
        return gmm

    def speaker_members(self) -> dict[str, list[int]]:
        """Numbers of each speaker's utterances."""
        members: dict[str, list[int]] = {}
        for n, speaker in enumerate(self.corpus.speakers):
            members.setdefault(speaker, []).append(n)
        return members

    def _rows(self, numbers: list[int]) -> np.ndarray:
        return np.concatenate([np.arange(self.bounds[n], self.bounds[n + 1]) for n in numbers])

    def adapt(self, gmm: Gmm, frames: np.ndarray, adapted: np.ndarray):
        """Frames (T, D) under new transforms of all speakers; `adapted`: under the last ones."""
        dim = frames.shape[1]
        # what the transforms are pulled to: the frames as they are adapted now, for which the best
        # transform is about the identity
        prior = FmllrStatistics.zero(dim)
        prior.add(fmllr_statistics(gmm, adapted, self.states))
        out = np.empty_like(frames)
        for numbers in self.speaker_members().values():
            rows = self._rows(numbers)
            own = fmllr_statistics(gmm, frames[rows], self.states[rows], adapted[rows])
            transform = estimate_fmllr(own, prior, self.config.prior_frames)
            out[rows] = apply(transform, frames[rows])
        return out

    def network_space(self, shown: Progress) -> Space:
        """LDA and MLLT of neighbouring frames, and speaker-adapted Gaussians there."""
        cepstra = self.corpus.cepstra
        states = np.split(self.states, self.bounds[1:-1])
        few = min(4, self.config.network[0])
        # (T, 100) spliced cepstra -> LDA to (T, 40) -> a transform that suits diagonal covariances
        parts = zip(map(splice, cepstra), states, strict=True)
        projection = lda(parts, N_PDFS, N_NETWORK)
        matrix = projection.T.astype(np.float32)
        frames = np.concatenate([splice(x) @ matrix for x in cepstra])
        gmm = self.grow(single_gaussians(frames, self.states, N_PDFS), frames, few)
        transform = mllt(gmm, frames, self.states)
        frames = (frames @ transform.T).astype(np.float32)
        gmm, adapted = moved(gmm, transform), frames
        for per_state in self.config.network:
            gmm = self.grow(gmm, adapted, per_state)
            adapted = self.adapt(gmm, frames, adapted)
            shown.advance()
        gmm = self.grow(gmm, adapted, self.config.network[-1])
        prior = fmllr_statistics(gmm, adapted, self.states)
        return Space(transform @ projection, gmm, prior)


def train_gmm(corpus: Corpus, pronunciations: Pronunciations, config: GmmConfig) -> AlignmentModel:
    """The whole schedule; `corpus.failed` receives what could not be used.

    Raises:
        ValueError: no usable utterance, or too many words without a pronunciation.
    """
    trainer = _Trainer(corpus, pronunciations, config)
    models = (*config.monophone, *config.projected, *config.adapted, *config.network)
    with Progress("sets of Gaussians", len(models)) as shown:
        return _schedule(trainer, config, shown)


def _schedule(trainer: _Trainer, config: GmmConfig, shown: Progress) -> AlignmentModel:
    # 1. (T, 39) cepstra with deltas, states spread evenly at first; align and grow in turn
    frames = np.concatenate([deltas(x) for x in trainer.corpus.cepstra])
    gmm = single_gaussians(frames, trainer.states, N_PDFS)
    for per_state in config.monophone:
        trainer.realign(gmm, frames)
        gmm = trainer.grow(gmm, frames, per_state)
        shown.advance()

    trainer.realign(gmm, frames)
    # 2. the same under MLLT, (T, 39) with unit variance in each dimension
    projection = mllt(gmm, frames, trainer.states)
    projection /= (frames @ projection.T).std(axis=0)[:, None]
    frames = (frames @ projection.T).astype(np.float32)
    gmm = moved(gmm, projection)
    for per_state in config.projected:
        gmm = trainer.grow(gmm, frames, per_state)
        trainer.realign(gmm, frames)
        shown.advance()
    # 3. speaker-adapted, from the Gaussians without adaptation (which are kept for new speakers):
    # transforms, alignment and Gaussians in turn
    speaker_independent = gmm

    adapted = frames
    for per_state in config.adapted:
        adapted = trainer.adapt(gmm, frames, adapted)
        trainer.realign(gmm, adapted)
        gmm = trainer.grow(gmm, adapted, per_state)
        shown.advance()
    prior = fmllr_statistics(gmm, adapted, trainer.states)
    del frames, adapted
    return AlignmentModel(
        gaussian=Space(projection, gmm, prior),
        network=trainer.network_space(shown),
        speaker_independent=speaker_independent,
        hmm=trainer.hmm,
        prior_frames=config.prior_frames,
    )
