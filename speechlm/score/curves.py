"""Learning curves from the logs of trainings: values by updates, CPU seconds or wall seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.score.markdown import markdown_table
from speechlm.score.train_log import LOG, Epoch, Stretch, read_train_log

AXES = {
    "cpu": "CPU seconds of training (without validation)",
    "wall": "seconds of training (without validation)",
    "updates": "batches",
}
"""What a value may stand over, as an axis says it."""


@dataclass(frozen=True)
class Points:
    """A curve: P values over P places."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    """Lowest of the trainings at each place."""
    high: np.ndarray
    """Highest."""


@dataclass(frozen=True)
class Curve:
    """One value of trainings of one name: means over them."""

    name: str
    training: Points
    """Of stretches of updates; places are their ends."""
    validation: Points
    """After each epoch."""


class TrainingLog:
    """The finished epochs of a training; an epoch that was begun again counts once."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Read `train.log` of a training's folder.

        Raises:
            ValueError: it holds no finished epoch, or lacks some.
        """
        self.path = Path(folder, LOG)
        epochs = read_train_log(self.path).epochs
        self.epochs = [epochs[n] for n in sorted(epochs) if epochs[n].valid]
        if not self.epochs:
            raise ValueError(f"{self.path}: expected a training's log, found no finished epoch")
        lost = sorted(set(range(1, max(epochs))) - {n for n in epochs if epochs[n].valid})
        if lost:
            raise ValueError(f"{self.path}: expected all epochs from the first on, it lacks {lost}")

    @property
    def values(self) -> set[str]:
        """Names of the values that validation has in some epoch."""
        return {name for epoch in self.epochs for name in epoch.valid}

    def curve(self, value: str, axis: str) -> tuple[list[tuple], list[tuple]]:
        """(place, number of batches, value) of training's stretches and of validations.

        Args:
            value: name of a value, such as accuracy_top.
            axis: one of `AXES`.

        Raises:
            ValueError: the log does not have it.
        """
        training, validation = [], []
        before, batches = 0.0, 0
        for epoch in self.epochs:
            length = self._length(epoch, axis)
            for stretch in epoch.stretches:
                if value in stretch.means:
                    place = before + self._part(epoch, stretch, length, axis)
                    training.append((place, batches + stretch.last, stretch.means[value]))
            before, batches = before + length, batches + epoch.batches
            if value in epoch.valid:
                validation.append((before, batches, epoch.valid[value]))
        if not validation:
            there = " ".join(sorted(self.epochs[-1].valid))
            raise ValueError(f"{self.path}: validation has no {value}; it has {there}")
        return training, validation

    def _length(self, epoch: Epoch, axis: str) -> float:
        """Of the updates of an epoch on an axis."""
        if axis == "updates":
            return float(epoch.batches)
        if epoch.cpu is None or epoch.ended is None:
            raise ValueError(
                f"{self.path} says nothing of CPU seconds (a training of an older version): take "
                "--x updates, or train again"
            )
        return epoch.cpu if axis == "cpu" else (epoch.ended - epoch.started).total_seconds()

    def _part(self, epoch: Epoch, stretch: Stretch, length: float, axis: str) -> float:
        """How far an epoch was after a stretch; CPU seconds: by the share of batches."""
        if axis == "wall":
            return (stretch.time - epoch.started).total_seconds()
        return length * stretch.last / max(1, epoch.batches)


def read_panels(
    trainings: Mapping[str, Sequence[str | os.PathLike[str]]], values: Sequence[str], axis: str
) -> dict[str, list[Curve]]:
    """Curves of each value, of the trainings whose logs have it.

    Args:
        trainings: folders by name; several under one name are seeds of the same.
        values: names of values, such as accuracy_top.
        axis: one of `AXES`.

    Raises:
        ValueError: no training has one of the values, only some of the seeds of a name have it, or
            as `read_curve`.
    """
    logs = {
        name: [TrainingLog(folder) for folder in folders] for name, folders in trainings.items()
    }
    panels: dict[str, list[Curve]] = {}
    for value in values:
        having = {
            name: own for name, own in logs.items() if any(value in log.values for log in own)
        }
        if not having:
            there = " ".join(
                sorted({v for own in logs.values() for log in own for v in log.values})
            )
            raise ValueError(f"no validation has {value}; they have {there}")
        panels[value] = [read_curve(name, own, value, axis) for name, own in having.items()]
    return panels


def read_curve(name: str, logs: Sequence[TrainingLog], value: str, axis: str) -> Curve:
    """A value of one or more trainings (seeds), with places and values averaged over them.

    Only what all of them have is taken: places after the same number of batches.

    Raises:
        ValueError: a log lacks the value, or they share no place.
    """
    parts = [log.curve(value, axis) for log in logs]
    if not any(training for training, _ in parts):
        empty = np.zeros(0)
        training = Points(empty, empty, empty, empty)
    else:
        training = _average([part for part, _ in parts], name)
    return Curve(name, training, _average([part for _, part in parts], name))


def reached(curves: Sequence[Curve], what: str) -> str:
    """A Markdown table: when each curve's validation comes to the last value of the first one's.

    Args:
        curves: of one value; the better end of it is that to which the first one moves.
        what: of the axis.
    """
    first = curves[0].validation
    goal, upwards = first.y[-1], first.y[-1] >= first.y[0]
    rows = []
    for curve in curves:
        points = curve.validation
        place = _first_place(points.x, points.y if upwards else -points.y, goal, upwards)
        cells = ["-", "-"] if place is None else [f"{place:.0f}", f"{place / first.x[-1]:.2f}"]
        rows.append([curve.name, f"{points.y[-1]:.3f}", f"{points.x[-1]:.0f}", *cells])
    head = ("training", "last", f"{what} in all", f"until {goal:.3f}", f"of {curves[0].name}'s")
    return markdown_table(head, rows)


def _first_place(x: np.ndarray, y: np.ndarray, goal: float, upwards: bool) -> float | None:
    """Where the line through the points first comes to the goal (y has its sign)."""
    level = goal if upwards else -goal
    above = np.flatnonzero(y >= level)
    if not len(above):
        return None
    i = int(above[0])
    if i == 0:
        return float(x[0])
    share = (level - y[i - 1]) / (y[i] - y[i - 1])
    return float(x[i - 1] + share * (x[i] - x[i - 1]))


def _average(parts: Sequence[Sequence[tuple]], name: str) -> Points:
    known: list[Mapping[int, tuple[float, float]]] = [
        {batches: (place, y) for place, batches, y in part} for part in parts
    ]
    common = sorted(set(known[0]).intersection(*known[1:]))
    if not common:
        raise ValueError(f"{name}: its trainings have no number of batches in common to be drawn")
    points = np.array([[one[batches] for batches in common] for one in known])  # (logs, P, 2)
    x, y = points[..., 0].mean(0), points[..., 1]
    return Points(x, y.mean(0), y.min(0), y.max(0))
