"""Features of the phone recogniser, against slow definitions."""

import numpy as np

from speechlm.recognizer.features import with_slopes


def test_slopes_are_regressions_over_five_frames():
    x = np.random.default_rng(0).normal(size=(13, 2)).astype(np.float32)
    found = with_slopes(x)
    assert found.shape == (13, 6) and np.array_equal(found[:, :2], x)
    slopes = [np.polyfit(np.arange(-2, 3), x[t - 2 : t + 3], 1)[0] for t in range(2, 11)]
    np.testing.assert_allclose(found[2:11, 2:4], slopes, atol=1e-5)
    second = np.polyfit(np.arange(-2, 3), slopes[2:7], 1)[0]
    np.testing.assert_allclose(found[6, 4:], second, atol=1e-5)
