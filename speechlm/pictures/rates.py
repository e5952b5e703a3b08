"""Pictures of error rates: of systems and decoders, and by the amount of text."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from speechlm.pictures.look import SMALL, About, label_of, legend, picture, style
from speechlm.score.seeds import Name, Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BETWEEN = 0.5  # rows between two systems
_BESIDE = 0.02  # of the axis
_ROOM_FOR_FIGURES = 1.15  # right of the longest interval


def draw_systems(rates: Sequence[Rate], path: str | os.PathLike[str]) -> None:
    """Draw a panel a metric: a row a system, in it a mark with its interval for each decoder.

    Thin strokes across are the seeds, where there are several.

    Args:
        rates: of one test set.
        path: the PNG file.
    """
    metrics = list(dict.fromkeys(rate.metric for rate in rates))
    decoders = list(dict.fromkeys(rate.name[1] for rate in rates))
    rows = _rows([*dict.fromkeys(rate.name for rate in rates)])
    systems = list(dict.fromkeys(system for system, _ in rows))
    last = max(rows.values())
    with picture(path, _about_systems(rates), len(metrics), height=1.8 + 0.35 * last) as axes:
        for one, metric in zip(axes, metrics, strict=True):
            for rate in (rate for rate in rates if rate.metric == metric):
                _mark(one, rate, rows[rate.name], decoders.index(rate.name[1]))
            own = [[place for name, place in rows.items() if name[0] == s] for s in systems]
            one.set_yticks([sum(places) / len(places) for places in own], systems)
            one.set_ylim(last + 1, -1)
            for places in own[1:]:
                border = min(places) - (1 + _BETWEEN) / 2
                one.axhline(border, color="black", linewidth=0.5, alpha=0.3)
            one.set_xlabel(f"{metric} (%)" if metric.endswith("ER") else metric, fontsize=SMALL)
            one.set_xlim(0, _ROOM_FOR_FIGURES * one.get_xlim()[1])
            one.set_axisbelow(True)
            one.tick_params(axis="y", length=0)
        if decoders != [""]:
            for number, decoder in enumerate(decoders):
                look = style(number)
                label = label_of(decoder) or "all"
                axes[0].plot([], [], look.marker, color=look.color, label=label, markersize=8)
            legend(axes)


def _rows(names: Sequence[Name]) -> dict[Name, float]:
    """Height of each system and decoder: a row each, and some room between two systems."""
    rows: dict[Name, float] = {}
    for system in dict.fromkeys(system for system, _ in names):
        first = max(rows.values()) + 1 + _BETWEEN if rows else 0.0
        own = [name for name in names if name[0] == system]
        rows |= {name: first + number for number, name in enumerate(own)}
    return rows


def _about_systems(rates: Sequence[Rate]) -> About:
    caption = "A mark is a system's rate with one decoder, the line through it its 95 % interval"
    if any(len(rate.by_seed) > 1 for rate in rates):
        caption += " over utterances and seeds; strokes across are the seeds"
    else:
        caption += " over utterances"
    return About(f"Rates of {rates[0].test} with intervals", f"{caption}.")


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
    about = About(
        f"Rates of {drawn[0].test} by lines of text",
        "The more lines of text pre-training sees, the further right. Vertical lines: 95 % "
        "intervals; circles beside a mark: its seeds.",
    )
    with picture(path, about, len(metrics)) as axes:
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
        legend(axes)


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
        label=label_of(rates[0].name[1]) or None,
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
    axes.plot([low, high], [place, place], "|", color=look.color, markersize=9, markeredgewidth=2)
    axes.plot([rate.mean], [place], look.marker, color=look.color, markersize=8)
    seeds = [*rate.by_seed.values()]
    if len(seeds) > 1:
        axes.plot(seeds, [place] * len(seeds), "|", color=look.color, markersize=16)
    right = max(high, *seeds)
    axes.annotate(
        f"{rate.mean:.1f}", (right, place), (6, 0), textcoords="offset points", va="center",
        fontsize=SMALL,
    )  # fmt: skip
