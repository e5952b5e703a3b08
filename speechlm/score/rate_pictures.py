"""Pictures of rates over seeds: of systems and decoders, and by the amount of text."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from speechlm.score.pictures import SMALL, picture, style
from speechlm.score.seeds import Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROOM = 0.8  # of a system's row for its decoders
_BESIDE = 0.02  # of the axis
_ROOM_FOR_FIGURES = 1.15  # right of the longest interval


def draw_systems(rates: Sequence[Rate], path: str | os.PathLike[str]) -> None:
    """Draw a panel a metric: a row a system, in it a mark with its interval for each decoder.

    Thin strokes across are the seeds.

    Args:
        rates: of one test set.
        path: the PNG file.
    """
    metrics = list(dict.fromkeys(rate.metric for rate in rates))
    systems = list(dict.fromkeys(rate.name[0] for rate in rates))
    decoders = sorted({rate.name[1] for rate in rates})
    rows = len(systems) * max(1, len(decoders))
    with picture(path, len(metrics), height=2 + 0.35 * rows) as axes:
        if axes is None:
            return
        for one, metric in zip(axes, metrics, strict=True):
            for rate in (rate for rate in rates if rate.metric == metric):
                number = decoders.index(rate.name[1])
                offset = (number + 0.5) / len(decoders) - 0.5
                place = systems.index(rate.name[0]) + _ROOM * offset
                _mark(one, rate, place, number)
            one.set_yticks(range(len(systems)), systems)
            one.set_ylim(len(systems) - 0.5, -0.5)
            for border in range(1, len(systems)):
                one.axhline(border - 0.5, color="black", linewidth=0.5, alpha=0.3)
            one.set_xlabel(f"{metric} (%)" if metric.endswith("ER") else metric, fontsize=SMALL)
            one.set_xlim(0, _ROOM_FOR_FIGURES * one.get_xlim()[1])
        for number, decoder in enumerate(decoders):
            look = style(number)
            label = decoder or "all"
            axes[0].plot([], [], look.marker, color=look.color, label=label, markersize=8)
        _legend(axes[0])


def draw_text(
    rates: Sequence[Rate], amounts: Mapping[str, int], path: str | os.PathLike[str]
) -> None:
    """Draw a panel a metric: rates over the lines of text, a line a decoder.

    The axis is logarithmic from the smallest amount on; 0 has a place left of it.
    Small circles beside a mark are its seeds.

    Args:
        rates: of one test set; those of other systems are not drawn.
        amounts: lines of text of each system.
        path: the PNG file.

    Raises:
        ValueError: a system has no rate, or there are fewer than two amounts.
    """
    drawn = [rate for rate in rates if rate.name[0] in amounts]
    lost = sorted(amounts.keys() - {rate.name[0] for rate in drawn})
    if lost:
        raise ValueError(f"no rates of {' '.join(lost)}")
    if len({*amounts.values()}) < 2:
        raise ValueError("two or more different amounts of text expected")
    metrics = list(dict.fromkeys(rate.metric for rate in drawn))
    decoders = sorted({rate.name[1] for rate in drawn})
    places = _places(sorted({*amounts.values()}))
    with picture(path, len(metrics)) as axes:
        if axes is None:
            return
        for one, metric in zip(axes, metrics, strict=True):
            for number, decoder in enumerate(decoders):
                own = [r for r in drawn if r.metric == metric and r.name[1] == decoder]
                own.sort(key=lambda rate: amounts[rate.name[0]])
                _line(one, own, [places[amounts[r.name[0]]] for r in own], number)
            labels = [f"{amount:,}" for amount in places]
            one.set_xticks([*places.values()], labels, rotation=30)
            one.set_xlabel("lines of text in pre-training", fontsize=SMALL)
            one.set_title(f"{metric} (%)" if metric.endswith("ER") else metric, fontsize=SMALL + 2)
            one.set_ylim(bottom=0)
        _legend(axes[0])


def _legend(axes: Axes) -> None:
    """One for all panels, beside them."""
    handles, labels = axes.get_legend_handles_labels()
    axes.figure.legend(handles, labels, fontsize=SMALL, loc="outside right upper")


def _places(amounts: Sequence[int]) -> dict[int, float]:
    """Place of each amount on the axis: its logarithm; 0 half a decade or more before them."""
    places = {amount: math.log10(amount) for amount in amounts if amount > 0}
    least, most = min(places.values()), max(places.values())
    if 0 in amounts:
        places = {0: least - max(0.5, 0.3 * (most - least)), **places}
    return places


def _line(axes: Axes, rates: Sequence[Rate], places: Sequence[float], number: int) -> None:
    """A decoder's line with intervals and the single seeds."""
    look = style(number)
    means = [rate.mean for rate in rates]
    errors = [
        [mean - rate.interval[0] for mean, rate in zip(means, rates, strict=True)],
        [rate.interval[1] - mean for mean, rate in zip(means, rates, strict=True)],
    ]
    axes.errorbar(
        places,
        means,
        errors,
        fmt=look.line,
        marker=look.marker,
        color=look.color,
        capsize=5,
        linewidth=2,
        markersize=8,
        label=rates[0].name[1] or None,
    )
    beside = _BESIDE * (max(places) - min(places))
    for place, rate in zip(places, rates, strict=True):
        seeds = [*rate.by_seed.values()]
        where = [place + beside] * len(seeds)
        axes.plot(where, seeds, "o", color=look.color, markersize=5, fillstyle="none")


def _mark(axes: Axes, rate: Rate, place: float, number: int) -> None:
    """A system's mark with its interval, its seeds, and the mean in figures."""
    look = style(number)
    low, high = rate.interval
    axes.plot([low, high], [place, place], color=look.color, linewidth=2)
    axes.plot([rate.mean], [place], look.marker, color=look.color, markersize=8)
    seeds = [*rate.by_seed.values()]
    axes.plot(seeds, [place] * len(seeds), "|", color=look.color, markersize=16)
    right = max(high, *seeds)
    axes.annotate(
        f"{rate.mean:.1f}", (right, place), (6, 0), textcoords="offset points", va="center",
        fontsize=SMALL,
    )  # fmt: skip
