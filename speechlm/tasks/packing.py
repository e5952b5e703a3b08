"""Cutting items that are sorted by length into batches of limited size.

The work grows with the number of different lengths and of batches, not with the number of items.
"""

from __future__ import annotations

import heapq

import numpy as np

STEP_SHARE = 0.015
"""Lengths that differ by less than this share count as equal, so that their order can be random."""


def length_steps(least: int, most: int) -> np.ndarray:
    """Ascending ends of steps of lengths: each is longer by `STEP_SHARE` than the one before.

    A length belongs to the first step whose end is not below it.

    Args:
        least: end of the first step.
        most: end of the last step.
    """
    ends = [least]
    while ends[-1] < most:
        # at least one longer: short lengths have steps of their own
        ends.append(min(most, max(ends[-1] + 1, int(ends[-1] * (1 + STEP_SHARE)))))
    return np.array(ends, np.int64)


def runs(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values among ascending lengths (n,), and the number of items up to each.

    Returns:
        (values, ends), (m,) both: items ends[i - 1] .. ends[i] - 1 have the length values[i].
    """
    ends = np.append(np.flatnonzero(np.diff(lengths)) + 1, len(lengths))
    return lengths[ends - 1] if len(lengths) else lengths, ends[: len(lengths)]


def share(
    values: np.ndarray, ends: np.ndarray, limit: float, workers: int, at_once: int = 1
) -> np.ndarray:
    """Bounds of batches of ascending lengths, in a number that all workers can share equally.

    Args:
        values, ends: the lengths as `runs` gives them.
        limit: of (items x longest) of a batch.
        workers: number of workers.
        at_once: batches that are put together as one.

    Returns:
        (batches + 1,) int64: batch i has the items bounds[i] .. bounds[i + 1] - 1.

    Raises:
        ValueError: fewer items than the workers need.
    """
    bounds, items = pack(values, ends, limit, at_once), int(ends[-1])
    count = -(-(len(bounds) - 1) // workers) * workers
    if count > items:
        raise ValueError(
            f"{items} utterances in {len(bounds) - 1} batches cannot be shared equally by "
            f"{workers} workers: use fewer workers, more utterances or larger batches"
        )
    return halve(bounds, count)


def pack(values: np.ndarray, ends: np.ndarray, limit: float, at_once: int = 1) -> np.ndarray:
    """Bounds of the fewest batches of ascending lengths with items x longest <= limit each.

    An item longer than the limit has a batch of its own.

    Args:
        values, ends: the lengths as `runs` gives them.
        limit: of (items x longest) of a batch.
        at_once: a batch holds as many items as so many batches of that limit do, not as many as
            one of a larger limit would: of items of 0.3 limits three batches hold nine.
    """
    pieces, last, start = [], 0, 0  # last: the bound before; start: the first item of a length
    for value, end in zip(values.tolist(), ends.tolist(), strict=True):
        # a batch that ends in this run has `most` items, but for the one that is open: that ends
        # where the run starts, if it has as many already
        most = at_once * max(1, int(limit // value)) if value else end + 1
        new = range(max(last + most, start), end, most)
        if new:
            pieces.append(new)
            last = new[-1]
        start = end
    bounds = [np.arange(new.start, new.stop, new.step) for new in pieces]
    return np.concatenate([[0], *bounds, [start]]).astype(np.int64)


def halve(bounds: np.ndarray, count: int) -> np.ndarray:
    """Halve the batches with most items until there are `count`, empty ones if items are few."""
    missing = count - (len(bounds) - 1)
    if missing <= 0:
        return bounds
    sizes = np.diff(bounds)
    # n halvings reach none but the n largest; of equal ones the first comes first
    chosen = np.argsort(-sizes, kind="stable")[:missing]
    # a heap of (-items, first item), the batch with most items on top
    largest = [(-int(sizes[i]), int(bounds[i])) for i in chosen]
    for _ in range(missing):
        items, start = heapq.heappop(largest)
        # n items: the first n - n // 2 stay, the last n // 2 become a batch of their own
        half = -items // 2
        heapq.heappush(largest, (items + half, start))
        heapq.heappush(largest, (-half, start - items - half))
    starts = np.concatenate([np.delete(bounds[:-1], chosen), [start for _, start in largest]])
    return np.append(np.sort(starts), bounds[-1])
