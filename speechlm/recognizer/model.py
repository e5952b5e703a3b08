"""The Gaussian model as files, and what it does with one speaker: features and adaptation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from speechlm.data.atomic import output_dir
from speechlm.recognizer.features import deltas
from speechlm.recognizer.gmm import Gmm
from speechlm.recognizer.graphs import Hmm, Pronunciations, utterance_graph
from speechlm.recognizer.transforms import (
    FmllrStatistics,
    apply,
    estimate_fmllr,
    fmllr_statistics,
    identity,
)
from speechlm.recognizer.viterbi import Graph, best_path

Scores = Callable[[], np.ndarray]
"""Gives (T, P) log-likelihoods when called."""


@dataclass
class AlignmentModel:
    """MLLT of the cepstra with deltas (39, 39), two Gaussian models, HMM, adaptation prior."""

    projection: np.ndarray
    speaker_independent: Gmm
    adapted: Gmm
    hmm: Hmm
    prior: FmllrStatistics
    prior_frames: float

    def project(self, cepstra: np.ndarray) -> np.ndarray:
        """(T, 20) normalised cepstra -> (T, 39) float32."""
        return deltas(cepstra) @ self.projection.T.astype(np.float32)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(T, 46) features of a speaker -> (T, P) log-likelihoods of the adapted Gaussians."""
        return self.adapted.log_likelihoods(features[:, : len(self.projection)])

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
        frames: Sequence[np.ndarray],
        states_of: Callable[[int, np.ndarray, Scores, int], np.ndarray | None],
        rounds: int = 3,
    ) -> np.ndarray:
        """Transform of one speaker.

        Args:
            frames: projected frames of the speaker's utterances.
            states_of: (utterance number, (T, D) frames under the current transform, a function
                that gives their (T, P) Gaussian log-likelihoods, round) -> (T,) states, or None
                to leave the utterance out.
        """
        dim = self.adapted.means.shape[2]
        transform = identity(dim)
        for turn in range(rounds):
            gmm = self.speaker_independent if turn == 0 else self.adapted
            statistics = FmllrStatistics.zero(dim)
            for number, x in enumerate(frames):
                now = apply(transform, x)
                states = states_of(number, now, partial(gmm.log_likelihoods, now), turn)
                if states is not None:
                    statistics.add(fmllr_statistics(self.adapted, x, states, now))
            if statistics.count > 0:
                transform = estimate_fmllr(statistics, self.prior, self.prior_frames)
        return transform

    def save(self, folder: Path | str) -> None:
        """Write plain arrays (no pickles), all or nothing."""
        with output_dir(folder) as path:
            self.speaker_independent.save(path / "gmm.npz")
            self.adapted.save(path / "gmm_adapted.npz")
            with open(path / "model.npz", "wb") as file:
                np.savez(
                    file,
                    projection=self.projection,
                    classes=self.hmm.classes,
                    stay=self.hmm.stay,
                    leave=self.hmm.leave,
                    prior_count=self.prior.count,
                    prior_linear=self.prior.linear,
                    prior_quadratic=self.prior.quadratic,
                    prior_frames=self.prior_frames,
                )

    @staticmethod
    def load(folder: Path | str) -> AlignmentModel:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the folder holds no model.
        """
        folder = Path(folder)
        if not (folder / "model.npz").exists():
            raise ValueError(f"{folder}: no Gaussian model here (train_gmm makes it)")
        with np.load(folder / "model.npz", allow_pickle=False) as data:
            return AlignmentModel(
                projection=data["projection"],
                speaker_independent=Gmm.load(folder / "gmm.npz"),
                adapted=Gmm.load(folder / "gmm_adapted.npz"),
                hmm=Hmm(data["classes"], data["stay"], data["leave"]),
                prior=FmllrStatistics(
                    float(data["prior_count"]), data["prior_linear"], data["prior_quadratic"]
                ),
                prior_frames=float(data["prior_frames"]),
            )
