"""Scores against slow definitions and other libraries."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from speechlm.superb import metrics
from speechlm.superb.results import score_of


def test_error_rate_is_edits_out_of_reference_tokens():
    pairs = [(["a", "b", "c"], ["a", "x"]), (["d"], ["d", "d"]), (["e"], ["e"])]
    scores = metrics.error_rate(pairs)
    assert scores.counts.tolist() == [2, 1, 0]
    assert metrics.value(scores) == pytest.approx(100 * 3 / 5)


def equal_error(similarities, same):
    """Where the polygon through all (false accept, false reject) points crosses the diagonal."""
    thresholds = np.r_[np.inf, np.sort(np.unique(similarities))[::-1]]
    accepts = [np.mean(similarities[~same] >= t) for t in thresholds]
    rejects = [np.mean(similarities[same] < t) for t in thresholds]
    for a0, r0, a1, r1 in zip(accepts, rejects, accepts[1:], rejects[1:], strict=False):
        if r0 >= a0 and r1 <= a1:
            share = (r0 - a0) / ((r0 - a0) + (a1 - r1)) if (r0 - a0) + (a1 - r1) else 0
            return 100 * (a0 + share * (a1 - a0))
    raise AssertionError


@pytest.mark.parametrize("seed", range(5))
def test_equal_error_rate(seed):
    rng = np.random.default_rng(seed)
    same = rng.random(60) < 0.4
    similarities = np.round(rng.normal(size=60) + same, 1 if seed % 2 else 6)
    found = metrics.value(metrics.EqualError(similarities, same))
    assert found == pytest.approx(equal_error(similarities, same), abs=1e-9)


def test_equal_error_rate_of_the_extremes():
    same = np.array([True, True, False, False])
    assert metrics.value(metrics.EqualError(np.array([4.0, 3, 2, 1]), same)) == 0
    assert metrics.value(metrics.EqualError(np.array([1.0, 2, 3, 4]), same)) == 100
    assert metrics.value(metrics.EqualError(np.ones(4), same)) == 50


def test_weights_stand_for_repeated_items():
    rng = np.random.default_rng(0)
    same, similarities = rng.random(30) < 0.5, rng.normal(size=30)
    times = rng.integers(0, 3, 30)
    weighted = metrics.EqualError(similarities, same).score(times[None].astype(float))[0]
    repeated = metrics.EqualError(similarities.repeat(times), same.repeat(times))
    assert weighted == pytest.approx(metrics.value(repeated))


def test_slot_f1_is_that_of_the_names_of_each_utterance():
    pairs = [
        ({"artist": ["A"], "song": ["B"]}, {"artist": ["C"], "city": ["D"]}),
        ({}, {}),
        ({"city": ["A"]}, {}),
    ]
    names = ["artist", "song", "city"]
    first = f1_score([[1, 1, 0]], [[1, 0, 1]], average="samples")
    scores = metrics.slot_f1(pairs)
    assert scores.counts.tolist() == pytest.approx([first, 1.0, 0.0]) and len(names) == 3


def test_slot_values_are_compared_with_the_nearest_of_their_name():
    pairs = [({"city": ["NEW YORK", "SALEM"]}, {"city": ["SALE", "NEW YORK"]}), ({"a": ["XY"]}, {})]
    scores = metrics.slot_cer(pairs)
    assert scores.counts.tolist() == [1, 2] and scores.totals.tolist() == [13, 2]


def test_diarization_errors():
    a = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], bool)
    assert metrics.diarization_errors(a, a[:, ::-1]) == (0, 4)  # names do not matter
    missed = a & np.array([True, False])
    assert metrics.diarization_errors(a, missed) == (2, 4)
    alarms = np.ones_like(a)
    assert metrics.diarization_errors(a, alarms) == (4, 4)
    one = np.array([[1, 0], [1, 0]], bool)
    other = np.array([[1, 0], [0, 1]], bool)
    assert metrics.diarization_errors(one, other) == (1, 2)  # the second cell is another speaker's


def test_intervals_hold_the_value_and_shrink_with_items():
    rng = np.random.default_rng(0)
    few = [metrics.accuracy(rng.random(40) < 0.7) for _ in range(3)]
    many = [metrics.accuracy(rng.random(4000) < 0.7) for _ in range(3)]
    small, large = score_of(few, 500, 1), score_of(many, 500, 1)
    assert small.low < small.mean < small.high and large.low < 70 < large.high
    assert large.high - large.low < (small.high - small.low) / 3
    assert small.items == 40 and len(small.by_seed) == 3


def test_arrays_come_back():
    scores = metrics.EqualError(np.array([1.0, 2.0]), np.array([True, False]))
    again = metrics.from_arrays(scores.arrays())
    assert metrics.value(again) == metrics.value(scores)
    with pytest.raises(ValueError, match="arrays of scores expected, got x"):
        metrics.from_arrays({"x": np.ones(2)})
    joined = metrics.joined(
        [metrics.accuracy(np.array([True])), metrics.accuracy(np.zeros(3, bool))]
    )
    assert metrics.value(joined) == 25
