"""A picture of tuned weights: error rates over LM weight and word score, and over blank scores."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float, float]
"""LM weight, word score, blank score."""


def draw_points(rates: Mapping[Point, float], chosen: Point, path: Path) -> None:
    """Draw error rates (percent) by weights; skipped with a warning if there is no matplotlib.

    Args:
        rates: of all points that were tried.
        chosen: one of them; the map is that of its blank score, the strip that of its other two.
        path: the PNG file.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        logging.warning("matplotlib is not installed: %s is not drawn", path.name)
        return
    figure = Figure(figsize=(10, 5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_map(left, {p[:2]: rate for p, rate in rates.items() if p[2] == chosen[2]}, chosen)
    _draw_strip(right, {p[2]: rate for p, rate in rates.items() if p[:2] == chosen[:2]}, chosen)
    figure.savefig(path, dpi=120)


def _draw_map(axes: Axes, rates: Mapping[tuple[float, ...], float], chosen: Point) -> None:
    """Squares with their rates at the places that were tried; the others stay white."""
    lm_weights = sorted({lm_weight for lm_weight, _ in rates})
    word_scores = sorted({word_score for _, word_score in rates})
    table = np.full((len(word_scores), len(lm_weights)), np.nan)
    for (lm_weight, word_score), rate in rates.items():
        row, column = word_scores.index(word_score), lm_weights.index(lm_weight)
        table[row, column] = rate
        bold = "bold" if (lm_weight, word_score) == chosen[:2] else "normal"
        axes.text(column, row, f"{rate:.1f}", ha="center", va="center", fontsize=7, weight=bold)
    # far-off points would leave no color for the neighbourhood of the chosen one
    low = float(np.nanmin(table))
    axes.imshow(table, origin="lower", aspect="auto", cmap="RdYlGn_r", vmin=low, vmax=low * 1.5 + 1)
    axes.set_xticks(range(len(lm_weights)), [f"{v:g}" for v in lm_weights], rotation=60, fontsize=7)
    axes.set_yticks(range(len(word_scores)), [f"{v:g}" for v in word_scores], fontsize=7)
    axes.set(xlabel="LM weight (of log10 P)", ylabel="word score")
    axes.set_title(f"WER (%), blank score {chosen[2]:g}; bold: chosen", fontsize=10)


def _draw_strip(axes: Axes, rates: Mapping[float, float], chosen: Point) -> None:
    blanks = sorted(rates)
    axes.plot(blanks, [rates[blank] for blank in blanks], "o-")
    axes.plot([chosen[2]], [rates[chosen[2]]], "o", markersize=10)
    axes.set(xlabel="blank score (nats)", ylabel="WER (%)")
    axes.set_title(f"LM weight {chosen[0]:g}, word score {chosen[1]:g}", fontsize=10)
    axes.grid(alpha=0.3)
