"""Gaussian mixtures with diagonal covariances, one mixture per HMM state.

Shapes: T frames, D features, P states (pdfs), M components a state. Parameters are kept as
(M, P, D) arrays so that a block of frames is scored for all states by one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.data.whole_files import read_arrays

BLOCK = 500  # frames scored at a time: their scores fit into the cache
ABSENT = -1e10


@dataclass
class Gmm:
    """Means and variances (M, P, D); log weights (M, P), `ABSENT` where there is no component."""

    means: np.ndarray
    variances: np.ndarray
    log_weights: np.ndarray

    def __post_init__(self) -> None:
        self._prepare()

    def _prepare(self) -> None:
        # log w N(x; mu, v) = x . (mu / v) + x^2 . (-1 / (2 v)) + c, elementwise over D, with c =
        # log w - 1/2 sum_d (log 2 pi v_d + mu_d^2 / v_d): for all components of all states it is
        # [x, x^2] (T, 2 D) @ matrix (2 D, M P) + constant (M P,); column m P + p is component m of
        # p.
        inverse = 1.0 / self.variances
        constant = -0.5 * (np.log(2 * np.pi * self.variances) + self.means**2 * inverse).sum(axis=2)
        dim = self.means.shape[2]
        self._constant = (constant + self.log_weights).reshape(-1).astype(np.float32)
        linear = (self.means * inverse).reshape(-1, dim)
        square = -0.5 * inverse.reshape(-1, dim)
        self._matrix = np.concatenate([linear, square], axis=1).T.astype(np.float32)

    @property
    def n_states(self) -> int:
        """P."""
        return self.means.shape[1]

    @property
    def n_components(self) -> int:
        """Number of Gaussians really present."""
        return int((self.log_weights > ABSENT / 2).sum())

    def log_likelihoods(self, frames: np.ndarray) -> np.ndarray:
        """(T, D) frames -> (T, P) log-likelihoods, float32."""
        out = np.empty((len(frames), self.n_states), dtype=np.float32)
        for start in range(0, len(frames), BLOCK):
            block = np.asarray(frames[start : start + BLOCK], dtype=np.float32)
            scores = np.concatenate([block, block * block], axis=1) @ self._matrix
            scores += self._constant
            scores = scores.reshape(len(block), -1, self.n_states)
            # log sum_m exp(score_m) = top + log sum_m exp(score_m - top) over the components of
            # each state
            top = scores.max(axis=1)
            scores -= top[:, None]
            np.exp(scores, out=scores)
            out[start : start + BLOCK] = top + np.log(scores.sum(axis=1))
        return out

    def posteriors(self, frames: np.ndarray, state: int) -> tuple[np.ndarray, np.ndarray]:
        """Component posteriors (T, M) and log-likelihoods (T,) of frames under one state."""
        n_states = self.n_states
        # columns of one state: state, P + state, 2 P + state, ...
        matrix = self._matrix[:, state::n_states]
        scores = np.concatenate([frames, frames * frames], axis=1) @ matrix
        scores += self._constant[state::n_states]
        top = scores.max(axis=1, keepdims=True)
        scores = np.exp(scores - top)
        total = scores.sum(axis=1, keepdims=True)
        return scores / total, (top + np.log(total))[:, 0]

    def save(self, path: Path | str) -> None:
        """Write an npz file (float32)."""
        with open(path, "wb") as file:
            np.savez(
                file,
                means=self.means.astype(np.float32),
                variances=self.variances.astype(np.float32),
                log_weights=self.log_weights.astype(np.float32),
            )

    @staticmethod
    def load(path: Path | str) -> Gmm:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is missing or damaged.
        """
        names = ("means", "variances", "log_weights")
        data = read_arrays(path, names, "Gaussian mixtures")
        return Gmm(*(data[name].astype(np.float64) for name in names))


def by_state(states: np.ndarray, n_states: int) -> list[np.ndarray]:
    """Frame numbers of each state, in order: a (T,) alignment -> `n_states` index arrays."""
    order = np.argsort(states, kind="stable")
    return np.split(order, np.cumsum(np.bincount(states, minlength=n_states))[:-1])


def single_gaussians(frames: np.ndarray, states: np.ndarray, n_states: int) -> Gmm:
    """One Gaussian a state from an alignment; states never seen get the global Gaussian."""
    mean, variance = frames.mean(axis=0), frames.var(axis=0) + 1e-4
    means = np.tile(mean, (1, n_states, 1)).astype(np.float64)
    variances = np.tile(variance, (1, n_states, 1)).astype(np.float64)
    for state, index in enumerate(by_state(states, n_states)):
        if len(index) > 1:
            means[0, state] = frames[index].mean(axis=0)
            variances[0, state] = np.maximum(frames[index].var(axis=0), 0.01 * variance)
    return Gmm(means, variances, np.zeros((1, n_states)))


def expectation_maximization(
    gmm: Gmm, frames: np.ndarray, states: np.ndarray, floor: np.ndarray
) -> tuple[Gmm, float]:
    """One EM step of every state's mixture on the frames aligned to it (Viterbi training).

    Args:
        frames, states: (T, D) features and (T,) their states.
        floor: (D,) smallest variance.

    Returns:
        The new model, and the mean log-likelihood a frame under the OLD one.
    """
    means, variances = gmm.means.copy(), gmm.variances.copy()
    weights = gmm.log_weights.copy()
    total = 0.0
    for state, index in enumerate(by_state(states, gmm.n_states)):
        if len(index) == 0:
            continue
        x = frames[index]
        # E: gamma[t, m] = w_m N_m(x_t) / sum_m w_m N_m(x_t), N_m = sum_t gamma[t, m]
        gamma, loglik = gmm.posteriors(x, state)
        total += float(loglik.sum(dtype=np.float64))
        occupancy = gamma.sum(axis=0, dtype=np.float64)
        keep = (gmm.log_weights[:, state] > ABSENT / 2) & (occupancy > 3.0)
        # M: mu_m = sum_t gamma x_t / N_m, v_m = sum_t gamma x_t^2 / N_m - mu_m^2, w_m = N_m / sum_m
        # N_m; components of fewer than 3 frames keep their mean and variance.
        first = (gamma.T @ x)[keep] / occupancy[keep, None]
        second = (gamma.T @ (x * x))[keep] / occupancy[keep, None]
        means[keep, state] = first
        variances[keep, state] = np.maximum(second - first.astype(np.float64) ** 2, floor)
        present = gmm.log_weights[:, state] > ABSENT / 2
        share = np.maximum(occupancy[present], 1e-2)
        weights[present, state] = np.log(share / share.sum())
    return Gmm(means, variances, weights), total / max(len(frames), 1)


def split_components(gmm: Gmm, counts: np.ndarray, per_state: int, min_count: float = 30.0) -> Gmm:
    """Grow every state towards `per_state` components by splitting its heaviest ones.

    Args:
        counts: (P,) frames aligned to each state; a component is split only while both halves
            may expect `min_count` frames.
    """
    _, n_states, dim = gmm.means.shape
    means = np.zeros((per_state, n_states, dim))
    variances = np.ones((per_state, n_states, dim))
    log_weights = np.full((per_state, n_states), ABSENT)
    for state in range(n_states):
        present = np.flatnonzero(gmm.log_weights[:, state] > ABSENT / 2)
        mean = list(gmm.means[present, state])
        variance = list(gmm.variances[present, state])
        weight = list(np.exp(gmm.log_weights[present, state]))
        while len(weight) < per_state:
            heavy = int(np.argmax(weight))
            if weight[heavy] * counts[state] < 2 * min_count:
                break
            # N(mu, v) with weight w becomes N(mu - 0.2 sqrt(v), v) and N(mu + 0.2 sqrt(v), v) with
            # w / 2
            weight[heavy] /= 2
            weight.append(weight[heavy])
            step = 0.2 * np.sqrt(variance[heavy])
            mean.append(mean[heavy] + step)
            mean[heavy] = mean[heavy] - step
            variance.append(variance[heavy].copy())
        n = len(weight)
        means[:n, state], variances[:n, state] = mean, variance
        log_weights[:n, state] = np.log(weight)
    return Gmm(means, variances, log_weights)
