"""What all pictures share: one look, told apart in grey and by the color-blind, also at half size.

A picture says in its own file what it shows: title and caption are texts in the PNG, which the
reports print below it.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from speechlm.data.atomic import output_file

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


class Style(NamedTuple):
    """How one of several things is drawn: told apart by form, and by lightness in grey."""

    color: str
    marker: str
    line: str


class About(NamedTuple):
    """What a picture shows, in words."""

    title: str
    """A few words: heading and alternative text."""
    caption: str
    """Sentences that a reader of the picture needs."""


STYLES = (
    Style("#000000", "o", "-"),
    Style("#d55e00", "s", "--"),
    Style("#56b4e9", "^", "-."),
    Style("#0072b2", "D", ":"),
    Style("#e69f00", "v", "-"),
    Style("#009e73", "P", "--"),
    Style("#cc79a7", "X", "-."),
    Style("#8a8a8a", "*", ":"),
)
"""In this order; a ninth thing looks as the first. Colors: Okabe and Ito 2008, Color Universal
Design, in an order in which neighbors differ in lightness, too."""
SMALL = 12
"""Points of the smallest letters."""
DOTS = 120
"""Dots an inch."""
_LIGHT = 0.45  # luminance from which on letters are black
_BESIDE = 5  # entries of a legend side by side, at most
MAP = "cividis"
"""Colors of values on a map: as dark in grey as in color."""


def style(number: int) -> Style:
    """That of the n-th thing."""
    return STYLES[number % len(STYLES)]


@contextmanager
def sheet(
    path: str | os.PathLike[str], about: About, width: float, height: float
) -> Iterator[Figure]:
    """Yield an empty figure, and write it as a PNG file when the block ends well.

    Args:
        path: the file, which is there complete or not at all.
        about: what is shown; `read_about` finds it in the file.
        width: inches.
        height: inches.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    drawn = BytesIO()
    with rc_context({"text.parse_math": False}):  # names and words may have a $
        figure = Figure(figsize=(width, height), dpi=DOTS, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        yield figure
        with _boxes_said_once(path):
            figure.savefig(drawn, format="raw")
    image = Image.frombytes("RGBA", canvas.get_width_height(), drawn.getvalue())
    texts = PngInfo()
    for name, text in zip(("Title", "Description"), about, strict=True):
        texts.add_itxt(name, text)
    # 256 colors are enough for what is drawn here, and make a third of the bytes.
    small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    with output_file(path) as temporary:
        small.save(temporary, format="PNG", optimize=True, pnginfo=texts)


@contextmanager
def _boxes_said_once(path: str | os.PathLike[str]) -> Iterator[None]:
    """One line for all characters that the font does not have; other warnings come as they are."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    missing = {str(one.message) for one in said if "missing from font" in str(one.message)}
    for one in said:
        if str(one.message) not in missing:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if missing:
        logging.warning("%s: boxes stand for %d characters without a font", path, len(missing))


def label_of(name: str) -> str:
    """A name as a label of a legend, which would leave it out if it begins with `_`."""
    return f" {name}" if name.startswith("_") else name


@contextmanager
def picture(
    path: str | os.PathLike[str],
    about: About,
    panels: int = 1,
    height: float = 5.0,
    width: float = 6.0,
    columns: int | None = None,
) -> Iterator[list[Axes]]:
    """Yield the axes of panels side by side, and write the PNG file when the block ends well.

    Args:
        path: the file.
        about: what is shown.
        panels: how many.
        height: inches of a panel.
        width: inches of a panel.
        columns: panels of a row; default: all.
    """
    columns = columns or panels
    rows = -(-panels // columns)
    with sheet(path, about, width * columns, height * rows) as figure:
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for spare in axes[panels:]:
            spare.remove()
        yield axes[:panels]
        for one in axes[:panels]:
            one.tick_params(labelsize=SMALL)
            if not one.images:
                one.grid(alpha=0.3)
                one.spines[["top", "right"]].set_visible(False)


def legend(axes: Sequence[Axes]) -> None:
    """One for all panels, above them; of things that several panels show, each once."""
    entries: dict[str, Artist] = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        axes[0].figure.legend(
            [*entries.values()],
            [*entries],
            loc="outside upper center",
            ncols=min(len(entries), _BESIDE),
            fontsize=SMALL,
            frameon=False,
        )


def write_cells(axes: Axes, image: AxesImage, texts: Sequence[Sequence[str]], size: float) -> None:
    """Write a text into each cell of a map, in black on light colors and in white on dark ones.

    Args:
        axes: where the map is.
        image: the map, of (R, C) values; cells that are not a number stay empty.
        texts: R rows of C.
        size: points.
    """
    values: np.ndarray = np.ma.filled(np.ma.asarray(image.get_array()), np.nan)
    # Luminance of the cells' colors, (R, C): 0.299 red + 0.587 green + 0.114 blue
    colors = np.asarray(image.cmap(image.norm(values)))  # (R, C, 4)
    light = colors[..., :3] @ np.array([0.299, 0.587, 0.114])
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(
                column,
                row,
                texts[row][column],
                color="black" if light[row, column] > _LIGHT else "white",
                fontsize=size,
                ha="center",
                va="center",
            )


def read_about(path: str | os.PathLike[str]) -> About:
    """What a picture of `sheet` says of itself; of other PNG files the name.

    Raises:
        ValueError: it is not there, or no PNG file.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("PNG",)) as image:
            texts = getattr(image, "text", {})
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"{path}: a picture (PNG) expected: {error}") from None
    return About(texts.get("Title", Path(path).stem), texts.get("Description", ""))
