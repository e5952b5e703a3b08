"""What a task said about an upstream, in a folder, and tables of many of them.

OUTPUT/result.json has rates, notes and layer weights, OUTPUT/METRIC.SEED.npz the items of a test.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechlm.data.atomic import output_dir
from speechlm.data.whole_files import read_arrays, read_json
from speechlm.score.compare import chunks, interval
from speechlm.score.seeds import over_seeds
from speechlm.superb.metrics import Scores, from_arrays, value
from speechlm.superb.training import Verdict
from speechlm.superb.upstream import Description

RESULT = "result.json"


@dataclass(frozen=True)
class Result:
    """Scores of an upstream on a task."""

    task: str
    model: str
    """Its name in tables."""
    description: Description
    rates: dict[float, float]
    """Score on dev by rate."""
    rate: float | None
    """The chosen one; None: nothing was trained."""
    seeds: list[int]
    weights: np.ndarray
    """(seeds, L) of the layers."""
    notes: list[str]
    scores: dict[str, list[Scores]]
    """By metric, an entry a seed."""


@dataclass(frozen=True)
class Score:
    """A metric over the seeds."""

    mean: float
    low: float
    high: float
    """95 %: bootstrap over items and seeds."""
    by_seed: tuple[float, ...]
    items: int


def write_result(
    folder: str | os.PathLike[str],
    task: str,
    model: str,
    description: Description,
    tested: Verdict,
    seeds: Sequence[int],
) -> None:
    """Write a folder: whole or not at all."""
    values = {
        "task": task,
        "model": model,
        "description": dataclasses.asdict(description),
        "rates": [[rate, score] for rate, score in tested.rates.items()],
        "rate": tested.rate if tested.rates else None,
        "seeds": list(seeds),
        "weights": np.array(tested.weights).tolist(),
        "notes": tested.notes,
        "metrics": [*tested.scores],
    }
    with output_dir(folder) as temporary:
        for name, parts in tested.scores.items():
            for seed, scores in zip(seeds, parts, strict=True):
                arrays: dict[str, Any] = scores.arrays()
                np.savez(temporary / f"{name}.{seed}.npz", **arrays)
        (temporary / RESULT).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_result(folder: str | os.PathLike[str]) -> Result:
    """What `write_result` wrote.

    Raises:
        ValueError: a file is missing or damaged.
    """
    path = Path(folder) / RESULT
    advice = "run the task again"
    try:
        values: dict[str, Any] = read_json(path, "result", advice)
        scores: dict[str, list[Scores]] = {}
        for name in values["metrics"]:
            scores[name] = []
            for seed in values["seeds"]:
                arrays = read_arrays(path.parent / f"{name}.{seed}.npz", (), "scores", advice)
                scores[name].append(from_arrays(arrays))
        return Result(
            values["task"],
            values["model"],
            Description(**values["description"]),
            dict(values["rates"]),
            values["rate"],
            values["seeds"],
            np.array(values["weights"]),
            values["notes"],
            scores,
        )
    except (KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path}: no whole result ({error}); {advice}") from None


def score_of(parts: Sequence[Scores], resamples: int, seed: int) -> Score:
    """The mean over seeds, with an interval from resampled items and seeds.

    Args:
        parts: of one metric, an entry a seed, all of the same items.
        resamples: to draw.
        seed: of the draws.
    """
    count, rng = len(parts[0]), np.random.default_rng(seed)
    drawn = []
    for chunk in chunks(resamples):
        # N draws of items with replacement: how often each is drawn, the same for all seeds
        times = rng.multinomial(count, np.full(count, 1 / count), chunk).astype(np.float64)
        drawn.append(np.stack([part.score(times) for part in parts], 1))
    values = np.concatenate(drawn)
    values = values[np.isfinite(values).all(1)]  # a draw may have trials of one kind alone
    by_seed = tuple(value(part) for part in parts)
    low, high = interval(over_seeds(values, seed))
    return Score(float(np.mean(by_seed)), low, high, by_seed, count)
