"""Pictures of tuned weights: error rates over LM weight and word score, and over blank scores."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechlm.data.whole_files import read_lines
from speechlm.decode.ctc_tuning import GRID, WEIGHTS
from speechlm.decode.search_settings import Tuned
from speechlm.pictures.look import MAP, SMALL, About, label_of, legend, picture, style, write_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float, float]
"""LM weight, word score, blank score."""
_COLUMNS = ("lm_weight", "word_score", "blank_score", "wer")
_WHAT = "points of a tuning"
_NEAR = 3  # rows and columns of a map on each side of what was chosen, at most
_SPAN = 1.25  # a rate that many times the lowest has the map's last color, as have all above


@dataclass(frozen=True)
class Tried:
    """Error rates (percent) of the points that a tuning has tried, and the point it chose."""

    rates: Mapping[Point, float]
    chosen: Point


def read_tried(folder: str | os.PathLike[str]) -> Tried:
    """What `tune_ctc` wrote.

    Raises:
        ValueError: a file is missing or damaged, or nothing was tuned: the weights were given, or
            dev has too few words.
    """
    path = Path(folder, GRID)
    rates: dict[Point, float] = {}
    for number, row in enumerate(csv.DictReader(read_lines(path, _WHAT), delimiter="\t"), 2):
        try:
            lm_weight, word_score, blank_score, rate = (float(row[name]) for name in _COLUMNS)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}:{number}: numbers expected in the columns {' '.join(_COLUMNS)} ({error}); "
                "tune_ctc makes it"
            ) from None
        rates[lm_weight, word_score, blank_score] = rate
    weights = Tuned.read(Path(folder, WEIGHTS)).weights
    chosen = (weights.lm_weight, weights.word_score, weights.blank_score)
    if len(rates) < 2 or chosen not in rates:
        raise ValueError(
            f"{path} has {len(rates)} points: nothing was tuned, as the weights were given, or as "
            "dev has too few words for that"
        )
    return Tried(rates, chosen)


def draw_tunings(tunings: Mapping[str, Tried], path: str | os.PathLike[str]) -> None:
    """Draw a map a system, and one panel with the blank scores of all.

    Args:
        tunings: by system.
        path: the PNG file.
    """
    about = About(
        "Weights of decoding, tuned on dev",
        "Each map: WER (%) at the points that were tried with the chosen blank score, those near "
        "the chosen point, which has a frame: of the points that are as good as the best, within "
        "noise, that of the smallest LM weight; light is better, white was not tried. Last panel: "
        "WER by blank score at the other two weights that were chosen; large marks: the chosen.",
    )
    with picture(path, about, len(tunings) + 1, height=4.2, columns=min(3, len(tunings) + 1)) as a:
        for number, (axes, (name, tried)) in enumerate(zip(a, tunings.items(), strict=False)):
            _draw_map(axes, tried)
            axes.set_title(f"{name}, blank score {tried.chosen[2]:g}", fontsize=SMALL)
            _draw_strip(a[-1], name, tried, number)
        a[-1].set_xlabel("blank score (nats)", fontsize=SMALL)
        a[-1].set_ylabel("WER (%)", fontsize=SMALL)
        legend(a)


def _draw_map(axes: Axes, tried: Tried) -> None:
    """Squares with their rates around the chosen point, which has a frame."""
    rates = {p[:2]: rate for p, rate in tried.rates.items() if p[2] == tried.chosen[2]}
    near = [_near({point[i] for point in rates}, tried.chosen[i]) for i in (0, 1)]
    shown = [(lm, words) for lm, words in rates if lm in near[0] and words in near[1]]
    lm_weights, word_scores = (sorted({point[i] for point in shown}) for i in (0, 1))
    table = np.array([[rates.get((lm, w), np.nan) for lm in lm_weights] for w in word_scores])
    # Far-off points would leave no color for the neighborhood of the chosen one.
    low = float(np.nanmin(table))
    high = max(low * 1.01, min(float(np.nanmax(table)), low * _SPAN))
    image = axes.imshow(table, origin="lower", aspect="auto", cmap=f"{MAP}_r", vmin=low, vmax=high)
    write_cells(axes, image, [[f"{rate:.1f}" for rate in row] for row in table], SMALL)
    column, row = lm_weights.index(tried.chosen[0]), word_scores.index(tried.chosen[1])
    axes.plot(*_frame(column, row), color="black", linewidth=5)
    axes.plot(*_frame(column, row), color="white", linewidth=2)
    axes.set_xticks(range(len(lm_weights)), [f"{v:g}" for v in lm_weights])
    axes.set_yticks(range(len(word_scores)), [f"{v:g}" for v in word_scores])
    axes.set_xlabel("LM weight (of log10 P)", fontsize=SMALL)
    axes.set_ylabel("word score", fontsize=SMALL)


def _near(values: set[float], chosen: float) -> list[float]:
    """The values beside the chosen one, ascending."""
    ordered = sorted(values)
    place = ordered.index(chosen)
    return ordered[max(0, place - _NEAR) : place + _NEAR + 1]


def _frame(column: int, row: int) -> tuple[list[float], list[float]]:
    """x and y of a line around a cell, a little inside."""
    half = 0.44
    x = [column - half, column + half, column + half, column - half, column - half]
    y = [row - half, row - half, row + half, row + half, row - half]
    return x, y


def _draw_strip(axes: Axes, name: str, tried: Tried, number: int) -> None:
    """WER over the blank scores that were tried with the chosen other two."""
    look, chosen = style(number), tried.chosen
    own = sorted((p[2], rate) for p, rate in tried.rates.items() if p[:2] == chosen[:2])
    blanks, rates = zip(*own, strict=True)
    color, marker = look.color, look.marker
    axes.plot(
        blanks, rates, look.line, marker=marker, color=color, linewidth=2, label=label_of(name)
    )
    axes.plot([chosen[2]], [tried.rates[chosen]], marker=marker, color=color, markersize=12)
