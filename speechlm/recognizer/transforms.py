"""Linear feature transforms: LDA, maximum-likelihood (MLLT) and per-speaker fMLLR.

Sources: Haeb-Umbach & Ney 1992 (LDA); Gales 1999, "Semi-tied covariance matrices" (MLLT);
Gales 1998, "Maximum likelihood linear transformations for HMM-based speech recognition" (fMLLR).
D is the feature dimension, T frames; transforms W are (D, D + 1) and act on [x; 1].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from speechlm.recognizer.gmm import Gmm, by_state


def lda(parts: Iterable[tuple[np.ndarray, np.ndarray]], n_states: int, dim: int) -> np.ndarray:
    """(dim, D) projection that separates the states best, with unit within-state covariance.

    Args:
        parts: (T, D) frames and (T,) their states, an utterance at a time.
    """
    # frames n_s and sums of x of every state s, sum of x x^T over all frames
    counts, sums, total = np.zeros(n_states), np.zeros((n_states, 0)), np.zeros(0)
    for frames, states in parts:
        if not counts.any():
            sums, total = np.zeros((n_states, frames.shape[1])), np.zeros((frames.shape[1],) * 2)
        counts += np.bincount(states, minlength=n_states)
        for state in np.unique(states):
            sums[state] += frames[states == state].sum(axis=0, dtype=np.float64)
        total += frames.T @ frames
    n = counts.sum()
    mean = sums.sum(axis=0) / n
    seen = counts > 0
    # With means m of all frames and m_s of a state, the covariances (D, D) between and within are
    #
    #   B = sum_s n_s / n (m_s - m) (m_s - m)^T,   W = E[x x^T] - m m^T - B,
    #
    # W with a little of the identity, so that it is invertible.
    offsets = sums[seen] / counts[seen, None] - mean
    between = (offsets.T * (counts[seen] / n)) @ offsets
    within = total / n - np.outer(mean, mean) - between
    within += 1e-6 * np.trace(within) / len(within) * np.eye(len(within))
    # W = V diag(w) V^T, so U = V diag(w^-1/2) whitens: U^T W U = I. There the directions that
    # separate states best are the eigenvectors R of U^T B U with the largest values (eigh sorts
    # them ascending); the projection is (U R)^T.
    values, vectors = np.linalg.eigh(within)
    whiten = vectors / np.sqrt(np.maximum(values, 1e-10))
    _, rotation = np.linalg.eigh(whiten.T @ between @ whiten)
    return (whiten @ rotation[:, ::-1][:, :dim]).T


def mllt(gmm: Gmm, frames: np.ndarray, states: np.ndarray, iterations: int = 20) -> np.ndarray:
    """(D, D) transform that makes diagonal covariances fit best, given a trained model."""
    frames = np.asarray(frames, dtype=np.float64)
    dim = frames.shape[1]
    # The rows a_i of the transform A maximise the likelihood, the model's variances v_mi held
    # fixed:
    #
    #   T log |det A| - 1/2 sum_i a_i G_i a_i^T
    #   G_i = sum_m 1 / v_mi sum_t gamma_m(t) (x_t - mu_m) (x_t - mu_m)^T      (D, D) each
    weighted = np.zeros((dim, dim, dim))
    for state, index in enumerate(by_state(states, gmm.n_states)):
        if len(index) == 0:
            continue
        gamma, _ = gmm.posteriors(frames[index].astype(np.float32), state)
        for component in range(gamma.shape[1]):
            if gamma[:, component].sum() < 3.0:
                continue
            centred = frames[index] - gmm.means[component, state]
            scatter = (centred * gamma[:, component, None]).T @ centred
            weighted += scatter / gmm.variances[component, state][:, None, None]
    inverses = np.linalg.inv(weighted + 1e-6 * np.eye(dim))
    transform = np.eye(dim)
    for _ in range(iterations):
        for row in range(dim):
            # Given the other rows, log |det A| = log |a_i c_i| + const, c_i being column i of A^-1
            # (cofactors, up to a factor), and the maximum is at
            #
            #   a_i = G_i^-1 c_i sqrt(T / (c_i G_i^-1 c_i))
            cofactor = np.linalg.inv(transform)[:, row]
            direction = inverses[row] @ cofactor
            transform[row] = direction * np.sqrt(len(frames) / (cofactor @ direction))
    return transform


def moved(gmm: Gmm, transform: np.ndarray) -> Gmm:
    """The model of linearly transformed frames (covariances kept diagonal), (D, D) transform."""
    # y = A x has mean A mu and covariance A diag(v) A^T, whose diagonal is (A * A) v
    return Gmm(gmm.means @ transform.T, gmm.variances @ (transform**2).T, gmm.log_weights)


@dataclass
class FmllrStatistics:
    """Sums for one speaker: frames `count`, linear (D, D + 1), quadratic (D, D + 1, D + 1)."""

    count: float
    linear: np.ndarray
    quadratic: np.ndarray

    @staticmethod
    def zero(dim: int) -> FmllrStatistics:
        """Statistics of no frame."""
        return FmllrStatistics(0.0, np.zeros((dim, dim + 1)), np.zeros((dim, dim + 1, dim + 1)))

    def add(self, other: FmllrStatistics, scale: float = 1.0) -> None:
        """Add other statistics, weighted, to these."""
        self.count += scale * other.count
        self.linear += scale * other.linear
        self.quadratic += scale * other.quadratic


def fmllr_statistics(
    gmm: Gmm, frames: np.ndarray, states: np.ndarray, posteriors_from: np.ndarray | None = None
) -> FmllrStatistics:
    """Accumulate one speaker's statistics.

    Args:
        gmm: the speaker-adapted model that the transformed frames shall fit.
        frames: (T, D) untransformed frames; `states` (T,) their aligned states.
        posteriors_from: (T, D) frames used to share a state's frames among its components
            (for a second round: the frames under the current transform); default `frames`.
    """
    dim = frames.shape[1]
    source = frames if posteriors_from is None else posteriors_from
    # Sums over the components m of each frame's state, (T, D):
    #
    #   precision[t, i] = sum_m gamma_m(t) / v_mi,   target[t, i] = sum_m gamma_m(t) mu_mi / v_mi
    precision = np.zeros((len(frames), dim), dtype=np.float32)
    target = np.zeros((len(frames), dim), dtype=np.float32)
    for state, index in enumerate(by_state(states, gmm.n_states)):
        if len(index):
            gamma, _ = gmm.posteriors(source[index], state)
            inverse = (1.0 / gmm.variances[:, state]).astype(np.float32)
            precision[index] = gamma @ inverse
            target[index] = gamma @ (gmm.means[:, state].astype(np.float32) * inverse)
    # With z = [x; 1], for each row i of the transform:
    #
    #   linear k_i = sum_t target[t, i] z_t,   quadratic G_i = sum_t precision[t, i] z_t z_t^T
    extended = np.concatenate([frames, np.ones((len(frames), 1), frames.dtype)], axis=1)
    quadratic = np.stack([(extended * precision[:, row, None]).T @ extended for row in range(dim)])
    return FmllrStatistics(float(len(frames)), target.T @ extended, quadratic)


def identity(dim: int) -> np.ndarray:
    """The transform that changes nothing."""
    return np.eye(dim, dim + 1)


def estimate_fmllr(
    statistics: FmllrStatistics,
    prior: FmllrStatistics,
    prior_frames: float = 500.0,
    iterations: int = 10,
) -> np.ndarray:
    """Maximum-likelihood transform (D, D + 1), smoothed towards doing nothing.

    `prior` are statistics of the training data under their own transforms, of which
    `prior_frames` frames are mixed in: with little data the result stays near identity.
    """
    dim = len(statistics.linear)
    total = FmllrStatistics.zero(dim)
    total.add(statistics)
    total.add(prior, prior_frames / max(prior.count, 1.0))
    # W = [A b], rows w_i, maximises the log-likelihood of W z under the adapted model,
    #
    #   Q(W) = N log |det A| - 1/2 sum_i (w_i G_i w_i^T - 2 k_i w_i^T)        N frames,
    #
    # row by row in turn: with p = [c_i; 0], c_i column i of A^-1, the maximum over w_i is at
    #
    #   w_i = (a p + k_i) G_i^-1   where   a^2 (p G_i^-1 p) + a (p G_i^-1 k_i) - N = 0
    inverses = np.linalg.inv(total.quadratic + 1e-6 * np.eye(dim + 1))
    transform = identity(dim)
    for _ in range(iterations):
        for row in range(dim):
            cofactor = np.append(np.linalg.inv(transform[:, :dim])[:, row], 0.0)
            direction = inverses[row] @ cofactor
            quadratic = cofactor @ direction
            linear = total.linear[row] @ direction
            root = np.sqrt(linear**2 + 4 * quadratic * total.count)
            scales = np.array([(-linear + root), (-linear - root)]) / (2 * quadratic)
            # the root a of the larger Q, which is N log |a p G^-1 p + p G^-1 k| - 1/2 a^2 p G^-1 p
            # up to what both have
            gain = total.count * np.log(np.abs(scales * quadratic + linear) + 1e-300)
            best = scales[np.argmax(gain - 0.5 * scales**2 * quadratic)]
            transform[row] = inverses[row] @ (best * cofactor + total.linear[row])
    return transform


def apply(transform: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(T, D) frames -> (T, D) float32 under a (D, D + 1) transform."""
    matrix = transform.astype(np.float32)
    return frames @ matrix[:, :-1].T + matrix[:, -1]
