"""How heads are trained: the values of SUPERB, and what a YAML file changes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from speechlm.conventions import nearest
from speechlm.data.yaml_file import read_yaml


@dataclasses.dataclass(frozen=True)
class Training:
    """Of the heads of a task."""

    steps: int
    """Updates."""
    batch: int
    """Utterances at a time."""
    accumulate: int = 1
    """Batches of an update."""
    evaluate: int = 2000
    """Updates from one look at dev to the next; the best head in dev is kept."""
    rates: tuple[float, ...] = (1e-2, 1e-3, 1e-4)
    """Learning rates to choose from, by dev."""
    hidden: int = 256
    """Width of the head."""
    pooled: int = 1500
    """Width of what is pooled, in speaker verification."""
    weight_decay: float = 0.0
    """Of AdamW."""
    seconds: float = 0.0
    """Longer utterances are cropped to so much in training; 0: none are. Only where one label is
    that of any part of an utterance (`CROPPED`)."""

    def __post_init__(self) -> None:
        names = ("steps", "batch", "accumulate", "evaluate", "hidden", "pooled")
        low = [name for name in names if getattr(self, name) < 1]
        if low or not self.rates or min(self.rates) <= 0 or self.seconds < 0:
            raise ValueError(
                f"values of 1 or more, and positive rates, expected; got {dataclasses.asdict(self)}"
            )


SUPERB: Mapping[str, Training] = {
    "pr": Training(100_000, 16, 2, 1000, rates=(1e-1, 1e-2, 1e-3)),
    "asr": Training(200_000, 32, rates=(1e-3, 1e-4, 1e-5), hidden=1024),
    "ks": Training(200_000, 32, evaluate=5000),
    "ic": Training(200_000, 32, evaluate=5000),
    "sid": Training(200_000, 8, 4, 5000, seconds=8.0),
    "sf": Training(200_000, 32, rates=(1e-3, 1e-4, 1e-5), hidden=1024),
    "asv": Training(
        200_000, 10, 5, 20_000, (1e-3, 1e-4, 1e-5), hidden=512, weight_decay=0.01, seconds=8.0
    ),
    "sd": Training(30_000, 8, 4, 500, hidden=512),
    "er": Training(30_000, 4, 8, 1000),
}
"""By task, as in s3prl 0.4.18; query by example trains nothing."""
CROPPED = ("ks", "ic", "sid", "asv", "er")
"""Tasks whose utterances may be cropped in training: of the others labels would have to be cut."""


def read_training(task: str, path: str | os.PathLike[str] | None) -> Training:
    """The values of a task, with the changes of a YAML file.

    Args:
        task: one of `SUPERB`.
        path: maps tasks to values of `Training`; None: no changes.

    Raises:
        ValueError: an unknown task or value, or one that the task cannot have.
    """
    if path is None:
        return SUPERB[task]
    changes = read_yaml(path)
    _check_names(changes, list(SUPERB), f"{path}: tasks")
    values: Any = changes.get(task) or {}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: values of {task} expected as `name: value`, got {values!r}")
    fields = {field.name for field in dataclasses.fields(Training)}
    _check_names(values, sorted(fields), f"{path}: values of {task}")
    if "rates" in values:
        values["rates"] = tuple(float(rate) for rate in values["rates"])
    try:
        training = dataclasses.replace(SUPERB[task], **values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {task}: {error}") from None
    if training.seconds and task not in CROPPED:
        raise ValueError(
            f"{path}: {task}: no `seconds` expected, got {training.seconds:g}: crops would keep "
            f"the labels of whole utterances; it is for {' '.join(CROPPED)}"
        )
    return training


def _check_names(given: Mapping[str, Any], known: list[str], where: str) -> None:
    for name in given:
        if name not in known:
            near = nearest(str(name), known)
            hint = f"; the nearest is {near}" if near else ""
            raise ValueError(f"{where}: {', '.join(known)} expected, got {name!r}{hint}")
