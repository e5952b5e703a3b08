"""The Gaussian models as files, and what they do with one speaker: features and adaptation.

There are two feature spaces: cepstra with deltas, whose Gaussians align (they place boundaries
best), and an LDA of neighbouring frames, the network's input (it tells phones apart best). A
speaker has a transform in each, estimated from the same aligned states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from speechlm.data.atomic import output_dir
from speechlm.data.whole_files import read_arrays
from speechlm.recognizer.features import deltas, splice
from speechlm.recognizer.gmm import Gmm
from speechlm.recognizer.topology import N_PDFS
from speechlm.recognizer.transforms import (
    FmllrStatistics,
    apply,
    estimate_fmllr,
    fmllr_statistics,
    identity,
)
from speechlm.recognizer.utterance_graph import Hmm, Pronunciations, utterance_graph
from speechlm.recognizer.viterbi import Graph, best_path

Scores = Callable[[], np.ndarray]
"""Gives (T, P) log-likelihoods when called."""


class Frames(NamedTuple):
    """One utterance in both spaces: (T, 39) for the Gaussians, (T, 40) for the network."""

    gaussian: np.ndarray
    network: np.ndarray


class Transforms(NamedTuple):
    """fMLLR of a speaker in both spaces: (39, 40) and (40, 41)."""

    gaussian: np.ndarray
    network: np.ndarray

    def __call__(self, frames: Frames) -> Frames:
        """Adapted frames."""
        return Frames(*(apply(t, x) for t, x in zip(self, frames, strict=True)))


@dataclass
class Space:
    """Projection (D, D_in) into a feature space, Gaussians of adapted frames, adaptation prior."""

    projection: np.ndarray
    adapted: Gmm
    prior: FmllrStatistics

    def save(self, folder: Path, name: str) -> None:
        """Write NAME.npz and NAME_gmm.npz."""
        self.adapted.save(folder / f"{name}_gmm.npz")
        with open(folder / f"{name}.npz", "wb") as file:
            np.savez(file, projection=self.projection, **vars(self.prior))

    @staticmethod
    def load(folder: Path, name: str) -> Space:
        """Read what `save` wrote.

        Raises:
            ValueError: a file is missing or damaged.
        """
        names = ("projection", "count", "linear", "quadratic")
        data = read_arrays(folder / f"{name}.npz", names, "feature space")
        prior = FmllrStatistics(float(data["count"]), data["linear"], data["quadratic"])
        return Space(data["projection"], Gmm.load(folder / f"{name}_gmm.npz"), prior)


@dataclass
class AlignmentModel:
    """Both spaces, Gaussians of unadapted frames (deltas), HMM, weight of the adaptation prior."""

    gaussian: Space
    network: Space
    speaker_independent: Gmm
    hmm: Hmm
    prior_frames: float

    def project(self, cepstra: np.ndarray) -> Frames:
        """(T, 20) normalised cepstra -> unadapted frames, float32."""
        return Frames(
            deltas(cepstra) @ self.gaussian.projection.T.astype(np.float32),
            splice(cepstra) @ self.network.projection.T.astype(np.float32),
        )

    def unadapted(self) -> Transforms:
        """The transforms that change nothing."""
        return Transforms(*(identity(len(s.projection)) for s in (self.gaussian, self.network)))

    def scores(self, frames: Frames) -> np.ndarray:
        """Adapted frames -> (T, P) log-likelihoods of the states."""
        return self.gaussian.adapted.log_likelihoods(frames.gaussian)

    def align(
        self, words: Sequence[str], pronunciations: Pronunciations, emission: np.ndarray
    ) -> tuple[Graph, np.ndarray]:
        """Graph and best states (T,) of known words.

        Raises:
            ValueError: unknown words, or fewer frames than the words need.
        """
        graph = utterance_graph(words, pronunciations, self.hmm)
        return graph, best_path(graph, emission)[1]

    def estimate(
        self,
        cepstra: Sequence[np.ndarray],
        states_of: Callable[[int, Frames, Scores, int], np.ndarray | None],
        rounds: int = 3,
    ) -> Transforms:
        """Transforms of one speaker.

        Args:
            cepstra: (T, 20) normalised cepstra of the speaker's utterances.
            states_of: (utterance number, frames under the current transforms, a function that
                gives their (T, P) Gaussian log-likelihoods, round) -> (T,) states, or None to
                leave the utterance out.
        """
        spaces = (self.gaussian, self.network)
        projected = [self.project(x) for x in cepstra]
        transforms = self.unadapted()
        for turn in range(rounds):
            gmm = self.speaker_independent if turn == 0 else self.gaussian.adapted
            sums = [FmllrStatistics.zero(len(space.projection)) for space in spaces]
            for number, frames in enumerate(projected):
                now = transforms(frames)
                scores = partial(gmm.log_likelihoods, now.gaussian)
                states = states_of(number, now, scores, turn)
                if states is None:
                    continue
                for total, space, raw, seen in zip(sums, spaces, frames, now, strict=True):
                    total.add(fmllr_statistics(space.adapted, raw, states, seen))
            if sums[0].count > 0:
                found = zip(sums, spaces, strict=True)
                transforms = Transforms(
                    *(estimate_fmllr(s, space.prior, self.prior_frames) for s, space in found)
                )
        return transforms

    def save(self, folder: Path | str) -> None:
        """Write plain arrays (no pickles), all or nothing."""
        with output_dir(folder) as path:
            self.gaussian.save(path, "gaussian")
            self.network.save(path, "network")
            self.speaker_independent.save(path / "gmm.npz")
            with open(path / "model.npz", "wb") as file:
                np.savez(file, prior_frames=self.prior_frames, **vars(self.hmm))

    @staticmethod
    def load(folder: Path | str) -> AlignmentModel:
        """Read what `save` wrote.

        Raises:
            ValueError: the folder holds no model, or a damaged one.
        """
        folder = Path(folder)
        if not (folder / "network.npz").exists():
            raise ValueError(f"{folder}: no Gaussian model here (train_gmm makes it)")
        names = ("classes", "stay", "leave", "prior_frames")
        data = read_arrays(folder / "model.npz", names, "HMM")
        model = AlignmentModel(
            gaussian=Space.load(folder, "gaussian"),
            network=Space.load(folder, "network"),
            speaker_independent=Gmm.load(folder / "gmm.npz"),
            hmm=Hmm(data["classes"], data["stay"], data["leave"]),
            prior_frames=float(data["prior_frames"]),
        )
        found, expected = model.speaker_independent.n_states, N_PDFS
        if found != expected:
            raise ValueError(
                f"{folder}: {expected} states expected, found {found}: it was made by another "
                "version of this program; train it again (train_gmm)"
            )
        return model
