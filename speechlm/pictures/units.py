"""The map of units and phones: how surely a unit says which phone is spoken."""

from __future__ import annotations

import os

import numpy as np

from speechlm.pictures.look import SMALL, About, picture
from speechlm.score.unit_quality import UnitCounts


def sorted_shares(counts: UnitCounts) -> tuple[list[str], np.ndarray, np.ndarray]:
    """What the picture shows.

    Returns:
        P phones by falling frequency; the K' used clusters by their most frequent phone, those
        that are surest of it first; p(phone | cluster) (P, K') in these orders.
    """
    order = np.argsort(-counts.counts.sum(1), kind="stable")
    used = np.flatnonzero(counts.counts.sum(0))
    table = counts.counts[order][:, used]
    shares = table / table.sum(0)
    columns = np.lexsort((-shares.max(0), shares.argmax(0)))
    return [counts.phones[i] for i in order], used[columns], shares[:, columns]


def draw_units(counts: UnitCounts, name: str, path: str | os.PathLike[str]) -> None:
    """Draw p(phone | unit): a row a phone, a column a unit.

    Args:
        counts: of units and phones.
        name: of the units.
        path: the PNG file.
    """
    phones, units, shares = sorted_shares(counts)
    figures = counts.figures()
    about = About(
        f"Phones of {name}",
        f"Each column is one of the {len(units)} units that {counts.utterances} utterances have, "
        "sorted by the phone that it most often stands for; the darker, the larger the share of "
        "its frames with that phone of the alignment. A clear diagonal: units tell phones apart. "
        f"PNMI {figures['pnmi']:.3f}, phone purity {figures['phone_purity']:.3f}.",
    )
    with picture(path, about, height=1.2 + 0.2 * len(phones), width=11) as (axes,):
        image = axes.imshow(
            shares, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="none"
        )
        axes.set_yticks(range(len(phones)), phones)
        axes.set_xlabel("units, sorted by their most frequent phone", fontsize=SMALL)
        axes.set_ylabel("phones, by frequency", fontsize=SMALL)
        bar = axes.figure.colorbar(image, fraction=0.05, pad=0.02)
        bar.set_label("share of a unit's frames", fontsize=SMALL)
        bar.ax.tick_params(labelsize=SMALL)
