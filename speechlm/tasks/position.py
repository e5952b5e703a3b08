"""Where a training is inside an epoch, as values that a checkpoint can hold.

Batches are functions of their number, so that only the number is kept; what else an epoch has
gathered are the states of the random generators and ESPnet's statistics of each batch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sized
from itertools import islice
from typing import Any

import numpy as np
import torch
from espnet2.train.reporter import Average, SubReporter, WeightedAverage
from torch.utils.data import DataLoader

_LOADER = (
    *("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "prefetch_factor"),
    *("multiprocessing_context", "generator"),
)
"""What of a loader does not say which batches it makes."""


def random_state() -> dict[str, Any]:
    """States of the generators that this worker draws from."""
    state: Any = np.random.get_state()  # noqa: NPY002 - ESPnet seeds it
    kind, keys, place, has_gauss, gauss = state
    states = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), place, has_gauss, gauss),
    }
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_state(state: dict[str, Any]) -> None:
    """Go on drawing where `random_state` was called."""
    torch.set_rng_state(state["torch"].cpu())
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def statistics_state(reporter: SubReporter) -> dict[str, Any]:
    """What was reported of n batches so far: float64 (n,) values and, where they have, weights."""
    values, weights = {}, {}
    for key, items in reporter.stats.items():
        values[key] = torch.tensor([item.value for item in items], dtype=torch.float64)
        if isinstance(items[0], WeightedAverage):
            weights[key] = torch.tensor([item.weight for item in items], dtype=torch.float64)
    return {
        "values": values,
        "weights": weights,
        "count": reporter.count,
        "total_count": reporter.total_count,
        "seconds": time.perf_counter() - reporter.start_time,
    }


def restore_statistics(reporter: SubReporter, state: dict[str, Any]) -> None:
    """Go on reporting where `statistics_state` was called."""
    for key, values in state["values"].items():
        if key in state["weights"]:
            pairs = zip(values.tolist(), state["weights"][key].tolist(), strict=True)
            reporter.stats[key] = [WeightedAverage(value, weight) for value, weight in pairs]
        else:
            reporter.stats[key] = [Average(value) for value in values.tolist()]
    reporter.count, reporter.total_count = state["count"], state["total_count"]
    reporter.start_time -= state["seconds"]


def without_first(batches: Iterable[Any], count: int) -> Iterable[Any]:
    """The batches but the first `count`; those of a `DataLoader` are not even made."""
    if not isinstance(batches, DataLoader):
        return islice(batches, count, None)
    same = {name: getattr(batches, name) for name in _LOADER}
    if batches.batch_sampler is not None:
        chosen = list(islice(batches.batch_sampler, count, None))
        return DataLoader(batches.dataset, batch_sampler=chosen, **same)
    if isinstance(batches.dataset, Sized):
        chosen = list(islice(batches.sampler, count, None))
        return DataLoader(batches.dataset, batch_size=None, sampler=chosen, **same)
    return islice(batches, count, None)
