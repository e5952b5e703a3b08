"""A permutation whose elements can be named one by one."""

import numpy as np
import pytest

from speechlm.data.permutation import permute


@pytest.mark.parametrize("n", [1, 2, 3, 33, 1000])
def test_permutation(n):
    places = permute(np.arange(n), n, [3, 1])
    assert sorted(places) == list(range(n))
    assert permute(np.array([n - 1]), n, [3, 1])[0] == places[-1]
