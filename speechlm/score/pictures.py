"""What the pictures of results share: one look, readable in grey and at half the size.

Without matplotlib nothing is drawn, with a warning: it is not needed for anything else.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from speechlm.data.atomic import output_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Style(NamedTuple):
    """How one of several things is drawn: told apart by form, and by lightness in grey."""

    color: str
    marker: str
    line: str


STYLES = (
    Style("#000000", "o", "-"),
    Style("#d1495b", "s", "--"),
    Style("#2274a5", "^", "-."),
    Style("#e9a23b", "D", ":"),
    Style("#5b8c5a", "v", "-"),
    Style("#8a8a8a", "P", "--"),
    Style("#6a4c93", "X", "-."),
    Style("#63c5da", "*", ":"),
)
"""In this order; a ninth thing looks as the first."""
SMALL = 12
"""Points of the smallest letters."""


def style(number: int) -> Style:
    """That of the n-th thing."""
    return STYLES[number % len(STYLES)]


@contextmanager
def picture(
    path: str | os.PathLike[str], panels: int, height: float = 5.0
) -> Iterator[list[Axes] | None]:
    """Yield the axes of panels side by side, and write the PNG file when the block ends well.

    Args:
        path: the file, which is there complete or not at all.
        panels: how many.
        height: inches; a panel is 6 wide.

    Yields:
        The axes; None where there is no matplotlib, with a warning.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        logging.warning("matplotlib is not installed: %s is not drawn", Path(path).name)
        yield None
        return
    figure = Figure(figsize=(6 * panels, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    yield axes
    for one in axes:
        one.tick_params(labelsize=SMALL)
        one.grid(alpha=0.3)
        one.spines[["top", "right"]].set_visible(False)
    with output_file(path) as temporary:
        figure.savefig(temporary, dpi=120)
