"""Search for the lowest count of errors over a few numbers, one direction after another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

P = TypeVar("P", bound=Hashable)

Step = Callable[[P, int], P]
"""A point and a sign (1, -1) -> the next point in that direction."""
LONGEST_LINE = 12
"""Steps in one direction before another one is tried."""


def descend(errors: Callable[[P], float], start: P, rounds: Sequence[Sequence[Step[P]]]) -> P:
    """Coordinate descent: the point where no step of the last round makes errors fewer.

    Args:
        errors: of a point; called several times for the same one.
        start: where to begin.
        rounds: steps in the order in which they are tried, coarse ones first; a round ends when
            none of its steps helps.
    """
    here = start
    for steps in rounds:
        before = None
        while here != before:
            before = here
            for step in steps:
                here = _along(errors, here, step)
    return here


def _along(errors: Callable[[P], float], start: P, step: Step[P]) -> P:
    """Go on in a direction while it helps; the other way only if the first step does not."""
    for sign in (1, -1):
        here = start
        for _ in range(LONGEST_LINE):
            there = step(here, sign)
            if not errors(there) < errors(here):
                break
            here = there
        if here != start:
            return here
    return start
