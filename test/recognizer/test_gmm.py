"""Gaussian models and transforms on data of known distribution."""

import numpy as np
import pytest

from speechlm.recognizer.gmm import (
    Gmm,
    expectation_maximization,
    single_gaussians,
    split_components,
)
from speechlm.recognizer.transforms import (
    FmllrStatistics,
    apply,
    estimate_fmllr,
    fmllr_statistics,
    identity,
    lda,
    mllt,
    moved,
)


def mixture_data(rng, n=3000):
    """Two states, each of two well separated clusters in three dimensions."""
    states = rng.integers(0, 2, n)
    side = rng.integers(0, 2, n) * 2 - 1
    centre = np.stack([states * 8.0, side * 3.0, np.zeros(n)], axis=1)
    return (centre + rng.normal(size=(n, 3))).astype(np.float32), states


def test_log_likelihoods_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    gmm = Gmm(
        rng.normal(size=(2, 3, 4)),
        rng.uniform(0.5, 2, (2, 3, 4)),
        np.log(rng.dirichlet([1, 1], 3).T),
    )
    x = rng.normal(size=(5, 4)).astype(np.float32)
    expected = np.zeros((5, 3))
    for t in range(5):
        for p in range(3):
            parts = [
                gmm.log_weights[m, p]
                - 0.5
                * np.sum(
                    np.log(2 * np.pi * gmm.variances[m, p])
                    + (x[t] - gmm.means[m, p]) ** 2 / gmm.variances[m, p]
                )
                for m in range(2)
            ]
            expected[t, p] = np.logaddexp(*parts)
    assert np.allclose(gmm.log_likelihoods(x), expected, atol=1e-4)


def test_em_never_lowers_the_likelihood_and_finds_the_clusters():
    rng = np.random.default_rng(1)
    frames, states = mixture_data(rng)
    gmm = split_components(single_gaussians(frames, states, 2), np.bincount(states), 2)
    assert gmm.n_components == 4
    gmm.means[:, :, 1] = [[-1.0, -1.0], [1.0, 1.0]]
    gmm = Gmm(gmm.means, gmm.variances, gmm.log_weights)
    likelihoods = []
    for _ in range(40):
        gmm, value = expectation_maximization(gmm, frames, states, np.full(3, 1e-3))
        likelihoods.append(value)
    assert np.all(np.diff(likelihoods) > -1e-5)
    assert likelihoods[-1] > likelihoods[0] + 0.2
    for state in range(2):
        assert sorted(gmm.means[:, state, 1].round()) == [-3, 3]
        assert np.allclose(gmm.variances[:, state], 1.0, atol=0.2)


def test_few_frames_are_not_split():
    rng = np.random.default_rng(2)
    frames = rng.normal(size=(40, 3)).astype(np.float32)
    gmm = single_gaussians(frames, np.zeros(40, int), 2)
    assert split_components(gmm, np.array([40, 0]), 4, min_count=30).n_components == 2


def test_save_and_load(tmp_path):
    frames, states = mixture_data(np.random.default_rng(3))
    gmm = single_gaussians(frames, states, 2)
    gmm.save(tmp_path / "gmm.npz")
    same = Gmm.load(tmp_path / "gmm.npz")
    assert np.allclose(same.log_likelihoods(frames), gmm.log_likelihoods(frames), atol=1e-3)


def adapted_model(rng, dim=4, n_states=12):
    means = rng.normal(0, 3, (1, n_states, dim))
    return Gmm(means, rng.uniform(0.3, 1.0, (1, n_states, dim)), np.zeros((1, n_states)))


def draw(gmm, rng, n):
    states = rng.integers(0, gmm.n_states, n)
    noise = rng.normal(size=(n, gmm.means.shape[2])) * np.sqrt(gmm.variances[0, states])
    return (gmm.means[0, states] + noise).astype(np.float32), states


def test_fmllr_recovers_a_known_transform():
    rng = np.random.default_rng(4)
    gmm = adapted_model(rng)
    clean, states = draw(gmm, rng, 6000)
    matrix = np.eye(4) + rng.normal(0, 0.15, (4, 4))
    offset = rng.normal(0, 1, 4)
    seen = ((clean - offset) @ np.linalg.inv(matrix).T).astype(np.float32)
    prior = fmllr_statistics(gmm, clean, states)
    found = estimate_fmllr(fmllr_statistics(gmm, seen, states), prior, prior_frames=0.0)
    assert np.allclose(found[:, :4], matrix, atol=0.05)
    assert np.allclose(found[:, 4], offset, atol=0.1)
    before = gmm.log_likelihoods(seen)[np.arange(6000), states].mean()
    after = gmm.log_likelihoods(apply(found, seen))[np.arange(6000), states].mean()
    assert after > before + 1.0


def test_fmllr_without_data_stays_at_identity():
    rng = np.random.default_rng(5)
    gmm = adapted_model(rng)
    clean, states = draw(gmm, rng, 20000)
    prior = fmllr_statistics(gmm, clean, states)
    found = estimate_fmllr(FmllrStatistics.zero(4), prior, prior_frames=500.0)
    assert np.allclose(found, identity(4), atol=0.05)


def test_mllt_raises_the_likelihood_of_correlated_data():
    rng = np.random.default_rng(7)
    mixing = rng.normal(size=(3, 3)) + 2 * np.eye(3)
    frames = (rng.normal(size=(4000, 3)) @ mixing.T).astype(np.float32)
    states = np.zeros(4000, int)
    gmm = single_gaussians(frames, states, 1)
    transform = mllt(gmm, frames, states)
    moved = (frames @ transform.T).astype(np.float32)
    gain = np.linalg.slogdet(transform)[1]
    before = gmm.log_likelihoods(frames).mean()
    after = single_gaussians(moved, states, 1).log_likelihoods(moved).mean() + gain
    covariance = np.cov(frames.T)
    possible = 0.5 * (np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1])
    assert after - before == pytest.approx(possible, abs=0.01)
    assert possible > 0.02
    assert np.abs(np.corrcoef(moved.T) - np.eye(3)).max() < 0.05


def test_lda_finds_the_direction_that_separates():
    rng = np.random.default_rng(9)
    direction = np.array([1.0, 2.0, -1.0])
    states = rng.integers(0, 3, 6000)
    noise = rng.normal(size=(6000, 3)) @ rng.normal(size=(3, 3))
    frames = (noise + states[:, None] * direction).astype(np.float32)
    parts = [(frames[n : n + 100], states[n : n + 100]) for n in range(0, 6000, 100)]
    found = frames @ lda(parts, 4, 2).T  # state 3 is never seen
    inside = np.concatenate([found[states == s] - found[states == s].mean(0) for s in range(3)])
    assert np.allclose(np.cov(inside.T), np.eye(2), atol=0.01)
    means = np.array([found[states == s].mean(0) for s in range(3)])
    assert abs(means[2, 0] - means[0, 0]) > 1.0  # all in the first direction
    assert abs(means[2, 1] - means[0, 1]) < 0.02


def test_moved_model_scores_scaled_frames_alike():
    rng = np.random.default_rng(8)
    gmm = adapted_model(rng)
    frames, _ = draw(gmm, rng, 50)
    scale = np.diag([1.0, 2.0, 0.5, -1.0])
    found = moved(gmm, scale).log_likelihoods((frames @ scale.T).astype(np.float32))
    assert np.allclose(found, gmm.log_likelihoods(frames), atol=1e-3)
