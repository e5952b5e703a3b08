"""Batches cut by numpy are those of the plain definitions, item by item."""

import heapq

import numpy as np
import pytest

from speechlm.tasks import batching
from speechlm.tasks.batching import LENGTH_STEP, SpeechBatches
from speechlm.tasks.packing import halve, pack, runs


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
    steps = -(-lengths // LENGTH_STEP)
    bounds = plain_pack(np.minimum(np.sort(steps) * LENGTH_STEP, limit).tolist(), limit)
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
