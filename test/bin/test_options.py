"""Options that mains share."""

import argparse

import pytest

from speechlm.bin import _training
from speechlm.bin._cli import at_least
from speechlm.checkpoints.model_dir import SIZES


def test_sizes_are_those_of_the_models():
    """The mains name them without importing torch."""
    assert set(_training.SIZES) == set(SIZES)


@pytest.mark.parametrize("word", ["0", "-3", "1.5", "many", ""])
def test_whole_numbers_from_one_on(word):
    assert at_least(1)("1") == 1 and at_least(1)("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="1 or more expected"):
        at_least(1)(word)
