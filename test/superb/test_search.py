"""Query by example: distances against a slow definition, values of thresholds."""

import numpy as np
import pytest

from speechlm.superb import metrics, search


def unit(rng, frames: int) -> np.ndarray:
    x = rng.normal(size=(frames, 4))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow(query: np.ndarray, document: np.ndarray) -> float:
    """Cell by cell: the last row's least total, by frame of the query."""
    local = np.exp(1 - query @ document.T) - 1
    low, high = local.min(1, keepdims=True), local.max(1, keepdims=True)
    local = (local - low) / np.maximum(high - low, 1e-9)
    total = np.full(local.shape, np.inf)
    total[0] = local[0]
    for i in range(1, len(query)):
        for j in range(len(document)):
            before = [total[i - 1, j - k] for k in range(3) if j - k >= 0]
            total[i, j] = local[i, j] + min(before)
    return total[-1].min() / len(query)


@pytest.mark.parametrize("block", [1, 20, 10_000])
def test_distances_are_those_of_single_documents(monkeypatch, block):
    monkeypatch.setattr(search, "_BLOCK", block)
    rng = np.random.default_rng(0)
    query = unit(rng, 6)
    documents = [unit(rng, n) for n in (9, 1, 2, 30, 3, 14)]
    found = search.distances_to(query, documents)
    assert np.allclose(found, [slow(query, d) for d in documents], atol=1e-6)


def test_a_document_with_the_query_in_it_is_nearest():
    rng = np.random.default_rng(1)
    query = unit(rng, 8)
    with_it = np.concatenate([unit(rng, 10), query.repeat(2, 0)[::2], unit(rng, 10)])
    found = search.distances_to(query, [unit(rng, 30), with_it, unit(rng, 28)])
    assert found.argmin() == 1 and found[1] == pytest.approx(0, abs=1e-6)


def test_costs_of_thresholds():
    scores = np.array([[3.0, 2.0, 1.0], [0.5, 2.0, 1.0]])
    same = np.array([[True, False, False], [False, False, True]])
    table = search.costs(scores, same)
    thresholds = [-np.inf, 0.5, 1.0, 2.0, 3.0]
    for row in range(2):
        for column, t in enumerate(thresholds):
            missed = np.mean(scores[row, same[row]] <= t)
            alarms = np.mean(scores[row, ~same[row]] > t)
            assert table[row, column] == pytest.approx(missed + metrics.BETA * alarms)
    perfect = search.costs(np.array([[3.0, 1.0]]), np.array([[True, False]]))
    assert metrics.value(metrics.TermWeighted(perfect)) == 1
    # Above the highest score nothing is found: no false alarm, all missed.
    assert metrics.value(metrics.TermWeighted(search.costs(-scores, same))) >= 0


def test_of_very_many_scores_some_thresholds_are_as_good(monkeypatch):
    rng = np.random.default_rng(2)
    same = rng.random((20, 300)) < 0.05
    same[:, 0] = True
    scores = rng.normal(size=same.shape) + 3 * same
    monkeypatch.setattr(search, "_THRESHOLDS", 10_000)
    whole = search.costs(scores, same)
    assert whole.shape[1] == 6001
    monkeypatch.setattr(search, "_THRESHOLDS", 500)
    some = search.costs(scores, same)
    assert some.shape == (20, 500)
    values = [metrics.value(metrics.TermWeighted(table)) for table in (whole, some)]
    assert 0.1 < values[0] < 1 and values[1] == pytest.approx(values[0], abs=0.02)
