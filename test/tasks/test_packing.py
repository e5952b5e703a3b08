"""Batches cut by numpy are those of the plain definitions, item by item."""

import heapq

import numpy as np
import pytest

from speechlm.tasks import batching
from speechlm.tasks.batching import SpeechBatches
from speechlm.tasks.packing import STEP_SHARE, halve, length_steps, pack, runs, share


def plain_pack(lengths, limit: float) -> list[int]:
    bounds = [0]
    for i, length in enumerate(lengths):
        if i > bounds[-1] and (i + 1 - bounds[-1]) * length > limit:
            bounds.append(i)
    return [*bounds, len(lengths)]


def plain_halve(bounds: list[int], count: int) -> list[int]:
    largest = [(a - b, a) for a, b in zip(bounds, bounds[1:], strict=False)]
    heapq.heapify(largest)
    while len(largest) < count:
        items, start = heapq.heappop(largest)
        half = -items // 2
        heapq.heappush(largest, (items + half, start))
        heapq.heappush(largest, (-half, start - items - half))
    return [*sorted(start for _, start in largest), bounds[-1]]


def plain_pass(lengths, limit: int, seed: int, workers: int, rank: int, number: int | None):
    """The batches of a worker in a pass; number None: without shuffling."""
    ends = length_steps(lengths.min(), lengths.max())
    steps = np.array([np.flatnonzero(ends >= length)[0] for length in lengths.tolist()])
    bounds = plain_pack(ends[np.sort(steps)].tolist(), limit)
    bounds = plain_halve(bounds, -(-(len(bounds) - 1) // workers) * workers)
    ties, batches = np.arange(len(lengths)), np.arange(len(bounds) - 1)
    if number is not None:
        random = np.random.default_rng([seed, number])
        ties = random.permutation(len(lengths))
        batches = random.permutation(len(batches))
    order = ties[np.argsort(steps[ties], kind="stable")]
    return [order[bounds[i] : bounds[i + 1]] for i in batches[rank::workers]]


@pytest.mark.parametrize("seed", range(60))
def test_bounds_are_those_of_a_loop_over_items(seed):
    random = np.random.default_rng(seed)
    n, longest = int(random.integers(0, 300)), int(random.integers(1, 300))
    lengths = np.sort(random.integers(seed % 2, longest + 1, n))
    limit = float(random.uniform(1, 2000)) if seed % 3 else int(random.integers(1, 2000))
    bounds = pack(*runs(lengths), limit)
    assert bounds.tolist() == plain_pack(lengths.tolist(), limit)
    count = len(bounds) - 1 + int(random.integers(0, 2 * n + 2))
    if n:
        assert halve(bounds, count).tolist() == plain_halve(bounds.tolist(), count)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", [np.int64, np.uint32])
def test_passes_are_those_of_whole_arrays(monkeypatch, workers, kind):
    monkeypatch.setattr(
        batching, "portions", lambda n: [(a, min(n, a + 64)) for a in range(0, n, 64)]
    )
    lengths = np.random.default_rng(1).integers(1, 250_000, 1000)
    for shuffle in (True, False):
        batches = SpeechBatches(lengths.astype(kind), 1_400_000, 7, workers, shuffle)
        for rank in range(workers):
            for number in (0, 2):
                plain = plain_pass(
                    lengths, 1_400_000, 7, workers, rank, number if shuffle else None
                )
                ours = batches.worker_pass(number, rank)
                assert len(ours) == len(batches) == len(plain) > 20
                some = batches.worker_pass(number, rank, 3, 9)
                assert len(some) == 6
                for a, b in [*zip(ours, plain, strict=True), *zip(some, plain[3:9], strict=True)]:
                    np.testing.assert_array_equal(a, b)
        # of the pass nothing else is kept
        assert all(batch.base.size == sum(map(len, ours)) for batch in ours)


@pytest.mark.parametrize("least", [0, 1, 400, 32_000, 250_000])
def test_steps_of_lengths_are_narrow_and_end_at_the_longest(least):
    ends = length_steps(least, 250_000)
    assert (ends[0], ends[-1]) == (least, 250_000) and (np.diff(ends) > 0).all()
    wider = np.diff(ends) > 1  # one sample is no step too wide
    assert (np.diff(ends)[wider] <= STEP_SHARE * ends[:-1][wider]).all()
    assert len(ends) < 800


@pytest.mark.parametrize("seed", range(20))
def test_batches_put_together_hold_as_many_items_as_apart(seed):
    """Of equal items exactly; of all others no batch has more than so many apart would."""
    random = np.random.default_rng(seed)
    limit, at_once = float(random.uniform(100, 2000)), int(random.integers(2, 9))
    lengths = np.sort(random.integers(1, 100, 500))
    bounds = pack(*runs(lengths), limit, at_once)
    sizes, longest = np.diff(bounds), lengths[bounds[1:] - 1]
    assert (sizes <= at_once * (limit // longest)).all() and sizes.sum() == 500
    assert (sizes * longest <= at_once * limit).all()
    equal = np.full(240, int(random.integers(1, 100)))
    apart = np.diff(pack(*runs(equal), limit))
    together = np.diff(pack(*runs(equal), limit, at_once))
    assert together[0] == min(240, apart[:at_once].sum())
    shared = np.diff(share(*runs(equal), limit, 3, at_once))
    assert len(shared) % 3 == 0 and shared.sum() == 240 and shared.max() <= together[0]
