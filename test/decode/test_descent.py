"""Coordinate descent finds the lowest point of surfaces, and stops."""

import pytest

from speechlm.decode.descent import LONGEST_LINE, PASSES, descend


def steps(size):
    def along(place):
        return lambda at, sign: tuple(v + sign * size * (n == place) for n, v in enumerate(at))

    return [along(place) for place in range(3)]


@pytest.mark.parametrize("lowest", [(0, 0, 0), (3, -2, 1.5), (-5.5, 7, -0.5), (20, 0, 0)])
@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_finds_the_lowest_point_of_a_bowl(lowest, slope):
    """A slope turns the bowl's axes away from the steps."""
    asked = []

    def errors(at):
        asked.append(at)
        d = [a - b for a, b in zip(at, lowest, strict=True)]
        return sum(v * v for v in d) + slope * d[0] * d[1]

    assert descend(errors, (0.0, 0.0, 0.0), [steps(2.0), steps(0.5)]) == lowest
    assert len(set(asked)) < 60


def test_stays_where_nothing_is_better():
    assert descend(lambda at: 7, (1.0, 2.0, 3.0), [steps(1.0)]) == (1.0, 2.0, 3.0)


def test_flat_ground_is_crossed():
    """As where a weak model's words are all deleted at the first weights."""

    def errors(at):
        return 100 if at[0] < 3 else 50 + abs(at[0] - 5)

    assert descend(errors, (1.0, 0.0, 0.0), [steps(1.0)]) == (5, 0, 0)


def test_a_surface_without_an_end_is_left():
    asked = []

    def errors(at):
        asked.append(at)
        return -at[0]

    assert descend(errors, (0.0, 0.0, 0.0), [steps(1.0)]) == (PASSES * LONGEST_LINE, 0, 0)
    assert len(set(asked)) < 3 * PASSES * LONGEST_LINE
