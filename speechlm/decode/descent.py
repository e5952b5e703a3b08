"""Search for the lowest count of errors over a few numbers, one direction after another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

P = TypeVar("P", bound=Hashable)

Step = Callable[[P, int], P]
"""A point and a sign (1, -1) -> the next point in that direction."""
LONGEST_LINE = 12
"""Steps in one direction before another one is tried."""
PASSES = 10
"""How often all directions are tried in a round."""
FLAT = 2
"""Steps without any change that are taken to see whether it goes down behind them."""


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
        for _ in range(PASSES):
            before = here
            for step in steps:
                here = _along(errors, here, step)
            if here == before:
                break
    return here


def _along(errors: Callable[[P], float], start: P, step: Step[P]) -> P:
    """Go on in a direction while it helps; the other way only if it does not in the first one."""
    for sign in (1, -1):
        best = there = start
        flat = 0
        for _ in range(LONGEST_LINE):
            there = step(there, sign)
            if errors(there) < errors(best):
                best, flat = there, 0
            elif errors(there) > errors(best) or flat == FLAT:
                break
            else:
                flat += 1
        if best != start:
            return best
    return start
