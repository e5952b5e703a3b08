"""The picture of learning curves: a panel a value, a line a training or a group of seeds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from speechlm.score.curves import AXES, Curve
from speechlm.score.pictures import SMALL, picture, style


def draw_curves(
    panels: Mapping[str, Sequence[Curve]], axis: str, path: str | os.PathLike[str]
) -> None:
    """Draw validation as lines with marks, training as thin lines without.

    The band around a line is from the lowest to the highest of the trainings that it is the mean
    of.

    Args:
        panels: curves by the name of their value.
        axis: of `curves.AXES`.
        path: the PNG file.
    """
    with picture(path, len(panels)) as axes:
        if axes is None:
            return
        for one, (value, curves) in zip(axes, panels.items(), strict=True):
            for number, curve in enumerate(curves):
                look, points = style(number), curve.validation
                one.plot(
                    points.x,
                    points.y,
                    look.line,
                    marker=look.marker,
                    color=look.color,
                    label=curve.name,
                    linewidth=2,
                    markersize=7,
                )
                one.fill_between(points.x, points.low, points.high, color=look.color, alpha=0.15)
                one.plot(
                    curve.training.x, curve.training.y, color=look.color, linewidth=0.8, alpha=0.7
                )
            one.set_xlabel(AXES[axis], fontsize=SMALL)
            one.set_title(value.replace("_", " "), fontsize=SMALL + 2)
            one.set_xlim(left=0)
        axes[0].legend(fontsize=SMALL, title="validation; thin: training", title_fontsize=SMALL)
