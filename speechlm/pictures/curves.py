"""The picture of learning curves: a panel a value, a line a training or a group of seeds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from speechlm.pictures.look import SMALL, About, label_of, legend, picture, style
from speechlm.score.curves import AXES, Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VALUES = {
    "loss": "loss (nats)",
    "accuracy_middle": "masked accuracy, middle layer",
    "accuracy_top": "masked accuracy, top layer",
    "loss_ctc": "CTC loss of text (nats a character)",
    "cer_ctc": "CER of greedy decoding",
    "wer_ctc": "WER of greedy decoding",
}
"""What the axis of a value of `train.log` says; others have their own names."""
_MANY = 3
"""Panels from which on they stand in two columns."""


def draw_curves(
    panels: Mapping[str, Sequence[Curve]], axis: str, path: str | os.PathLike[str], title: str
) -> None:
    """Draw validation as lines with marks, training as thin lines without.

    The band around a line is from the lowest to the highest of the trainings that it is the mean
    of.

    Args:
        panels: curves by the name of their value; a training may be missing from some.
        axis: of `curves.AXES`.
        path: the PNG file.
        title: of the picture.
    """
    names = list(dict.fromkeys(curve.name for curves in panels.values() for curve in curves))
    caption = "Lines with marks: validation after each epoch."
    drawn = [curve for curves in panels.values() for curve in curves]
    if any(len(curve.training.x) > 1 for curve in drawn):
        caption += " Thin lines: training."
    shown = [curve.validation for curve in drawn]
    if any((points.high > points.low).any() for points in shown):
        caption += " Means over seeds; a band is from the lowest to the highest of them."
    columns = 2 if len(panels) > _MANY else None
    with picture(path, About(title, caption), len(panels), 4.5, columns=columns) as axes:
        for one, (value, curves) in zip(axes, panels.items(), strict=True):
            for curve in curves:
                _draw(one, curve, names.index(curve.name))
            one.set_xlabel(AXES[axis], fontsize=SMALL)
            one.set_ylabel(VALUES.get(value, value.replace("_", " ")), fontsize=SMALL)
            one.set_xlim(left=0)
        legend(axes)


def _draw(axes: Axes, curve: Curve, number: int) -> None:
    look, points = style(number), curve.validation
    axes.plot(
        points.x,
        points.y,
        look.line,
        marker=look.marker,
        color=look.color,
        label=label_of(curve.name),
        linewidth=2,
        markersize=7,
    )
    axes.fill_between(points.x, points.low, points.high, color=look.color, alpha=0.15)
    axes.plot(curve.training.x, curve.training.y, color=look.color, linewidth=0.8, alpha=0.7)
