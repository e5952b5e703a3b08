"""Trainings at a glance, as plain text: a row each, and below what is odd."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from speechlm.progress.words import clock, cut, printable
from speechlm.score.training_status import RUNNING, STOPPED, Status

HEAD = (
    *("training", "state", "updates", "left", "loss", "accuracy", "CTC", "validation"),
    *("upd/s", "audio s/s", "memory", "checkpoint"),
)
"""The columns; those to the right are left out where there is no room for them."""


def status_table(trainings: Sequence[Status], width: int | None) -> str:
    """The table, at most `width` columns wide (None: as wide as it is)."""
    folder = common_folder([training.name for training in trainings])
    rows = [list(HEAD), *(_row(training, folder) for training in trainings)]
    columns = [column for column in zip(*rows, strict=True) if any(c != "-" for c in column[1:])]
    sizes = [max(map(len, column)) for column in columns]
    while width is not None and len(columns) > 2 and sum(sizes) + 2 * len(sizes) - 2 > width:
        columns.pop()
        sizes.pop()
    lines = []
    for cells in zip(*columns, strict=True):
        line = "  ".join(cell.ljust(size) for cell, size in zip(cells, sizes, strict=True)).rstrip()
        lines.append(line if width is None else cut(line, width))
    for training in trainings:
        lines += [f"! {_short(training.name, folder)}: {text}" for text in training.warnings]
    return "".join(f"{printable(line)}\n" for line in lines)


def common_folder(names: Sequence[str]) -> str:
    """What all names begin with: the folder that need not be said in each row."""
    parts = [Path(name).parts[:-1] for name in names]
    common: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return str(Path(*common)) if common else ""


def _short(name: str, folder: str) -> str:
    return str(Path(name).relative_to(folder)) if folder else name


def _row(training: Status, folder: str) -> list[str]:
    if training.total is None:
        updates = f"{training.done:,.0f}" if training.done else "-"
    else:
        updates = f"{training.done:,.0f}/{training.total:,.0f}"
    shown = training.state
    if training.where and training.state != STOPPED:
        shown += f" {training.where}"
    left = training.left if training.state == RUNNING else None
    return [
        _short(training.name, folder),
        shown,
        updates,
        "-" if left is None else clock(left),
        _loss(training),
        " ".join(f"{value:.3f}" for value in training.accuracies) or "-",
        _value(training.ctc, ".3g"),
        _validation(training),
        _value(training.rate, ".2g"),
        _value(training.audio, ".0f"),
        "-" if training.memory is None else f"{training.memory:.1f} GB",
        "-" if training.checkpoint is None else f"{_rough(training.checkpoint)} ago",
    ]


def _value(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _loss(training: Status) -> str:
    if training.loss is None:
        return "-"
    trend = "" if training.trend is None else f" ({100 * training.trend:+.0f} %)"
    return f"{training.loss:.3g}{trend}"


def _validation(training: Status) -> str:
    """The loss of the last validation, and the error rate or accuracies it has."""
    shown: list[str] = []
    for name, value in training.valid.items():
        if name == "loss":
            shown.insert(0, f"{value:.3g}")
        elif name.startswith("cer"):
            shown.append(f"CER {value:.3f}")
        elif "acc" in name:
            shown.append(f"{value:.3f}")
    return " ".join(shown) or "-"


def _rough(seconds: float) -> str:
    """Seconds, minutes, hours or days, whichever suits."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
