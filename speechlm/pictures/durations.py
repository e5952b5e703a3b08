"""The picture of durations: how long units last that text is turned into, and those of speech."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from speechlm.conventions import SPECIALS
from speechlm.data.archives import read_unit_info
from speechlm.data.text_corpus import TextCorpus
from speechlm.data.unit_store import UnitStore
from speechlm.data.vocabulary import SILENCE
from speechlm.pictures.example import shown
from speechlm.pictures.look import SMALL, About, legend, picture, style
from speechlm.pictures.samples import SomeArrays
from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = 0.99  # of the runs: longer ones are beyond the edge
_FEW = 5  # runs of a phone, below which it has no mean
_TICKS = (20, 30, 50, 70, 100, 150, 200, 300, 500, 1000, 2000)  # ms
_BARS = 40  # of the distribution, at most


@dataclass(frozen=True)
class Runs:
    """Runs of equal units: N names and durations."""

    names: np.ndarray
    """(N,) str."""
    seconds: np.ndarray
    """(N,)."""

    def without_silence(self) -> Runs:
        """Those of phones, or of hidden units, alone."""
        spoken = self.names != SILENCE
        return Runs(self.names[spoken], self.seconds[spoken])


def runs_of(rows: Iterable[np.ndarray], symbols: Sequence[str], frame_shift: float) -> Runs:
    """Runs of frame labels.

    Args:
        rows: (T,) labels of each utterance or line.
        symbols: names of the labels; those of phones are folded.
        frame_shift: seconds that a label lasts.

    Raises:
        ValueError: there are no labels, or labels without a symbol.
    """
    names, lengths = [], []
    known = np.array([shown(symbol) for symbol in symbols])
    for labels in rows:
        starts = np.flatnonzero(np.diff(labels, prepend=-1))
        lengths.append(np.diff(starts, append=len(labels)))
        found = np.asarray(labels)[starts]
        if len(found) and not 0 <= found.min() <= found.max() < len(known):
            raise ValueError(f"labels 0..{len(known) - 1} expected, found {found.max()}")
        names.append(known[found])
    if not sum(map(len, names)):
        raise ValueError("units expected, but there are none")
    return Runs(np.concatenate(names), np.concatenate(lengths) * frame_shift)


def runs_of_archives(folder: str | os.PathLike[str], most: int) -> tuple[Runs, float]:
    """Runs of at most so many utterances of unit archives, and seconds that a unit lasts."""
    frame_shift, vocabulary = read_unit_info(folder)
    chosen = SomeArrays(folder, most)
    return runs_of(chosen.values(), vocabulary.symbols, frame_shift), frame_shift


def runs_of_text(
    text: TextCorpus, tokenizer: PhonemeTextTokenizer, frame_shift: float, most: int
) -> Runs:
    """Runs of the phones that at most so many lines of text are turned into."""
    lines = _evenly(len(text), most)
    made = tokenizer(text.lines(lines), lines, 1)
    rows = (units[:-1] - len(SPECIALS) for units, _ in made)  # without </s>, as labels
    return runs_of(rows, tokenizer.units.symbols, frame_shift)


def runs_of_store(store: UnitStore, most: int) -> Runs:
    """Runs of the stored hidden units of at most so many lines."""
    rows = (store[line] for line in _evenly(len(store), most))
    return runs_of(rows, store.units.symbols, store.frame_shift)


def _evenly(count: int, most: int) -> list[int]:
    """Numbers below `count`, at most so many, as far from each other as they can be."""
    return list(range(count)) if count <= most else [n * count // most for n in range(most)]


def draw_durations(
    speech: Runs, text: Runs, step: float, path: str | os.PathLike[str], name: str
) -> None:
    """Draw the distribution of durations, and below it each unit's own mean or frequency.

    Args:
        speech: of speech.
        text: of units made from text.
        step: seconds of the longer of their two frames.
        path: the PNG file.
        name: of the units: of phones the means are drawn, of others the frequencies.

    Raises:
        ValueError: one of them is silence alone, or no phone comes often enough in both.
    """
    spoken, written = speech.without_silence(), text.without_silence()
    for what, runs in (("speech", spoken), ("text", written)):
        if not len(runs.seconds):
            raise ValueError(f"{name}: units of {what} expected, but all of them are silence")
    ratio = written.seconds.mean() / spoken.seconds.mean()
    hidden = all(symbol.isdecimal() for symbol in np.unique(spoken.names))
    names, rare = _names(speech, text)
    if not hidden and not names:
        raise ValueError(
            f"{name}: phones expected that come {_FEW} times or more in speech and in text, too; "
            "there are none: more utterances and lines are needed"
        )
    caption = (
        "Above: how long runs of one unit last in speech and in what text is turned into, silence "
        f"apart; those of text last {ratio:.2f} times as long on average. Below: "
    )
    if hidden:
        caption += "how often each unit comes."
    else:
        caption += "how long each phone lasts on average"
        caption += f" (not shown, as they are too rare: {', '.join(rare)})." if rare else "."
    about = About(f"Durations of {name}: text against speech", caption)
    with picture(path, about, 2, height=4.2, width=11, columns=1) as (above, below):
        _draw_distribution(above, spoken, written, step)
        if hidden:
            _draw_frequencies(below, spoken, written)
        else:
            _draw_means(below, speech, text, names)
        legend([above])


def _draw_distribution(axes: Axes, speech: Runs, text: Runs, step: float) -> None:
    both = np.concatenate([speech.seconds, text.seconds])
    longest = np.quantile(both, _SHOWN)
    # Steps of whole frames, so that no bar has more of them than another
    width = step * max(1, round(longest / step / _BARS))
    edges = np.arange(0.5 * step, longest + 1.5 * width, width)
    for number, (label, runs) in enumerate((("speech", speech), ("text", text))):
        look = style(number)
        counts, _ = np.histogram(runs.seconds, edges)
        share = 100 * counts / len(runs.seconds)
        stairs = axes.stairs(share, 1000 * edges, color=look.color, label=label)
        stairs.set(linestyle=look.line, linewidth=2.5)
    axes.set_xlabel("duration (ms)", fontsize=SMALL)
    axes.set_ylabel("runs (%)", fontsize=SMALL)
    axes.set_xlim(left=0)


def _names(speech: Runs, text: Runs) -> tuple[list[str], list[str]]:
    """Names with enough runs in both for a mean, and the others."""
    often, every = set[str](), set[str]()
    for number, runs in enumerate((speech, text)):
        names, counts = np.unique(runs.names, return_counts=True)
        own = set(names[counts >= _FEW].tolist())
        often = own if number == 0 else often & own
        every |= set(names.tolist())
    return sorted(often), sorted(every - often)


def _draw_means(axes: Axes, speech: Runs, text: Runs, names: Sequence[str]) -> None:
    """Mean duration of each phone, by that in speech."""
    rows = [
        {n: 1000 * float(runs.seconds[runs.names == n].mean()) for n in names}
        for runs in (speech, text)
    ]
    ordered = sorted(names, key=rows[0].__getitem__)
    _draw_marks(axes, ordered, [[own[n] for n in ordered] for own in rows])
    axes.set_xticks(range(len(ordered)), ordered, rotation=90)
    axes.set_yscale("log")  # silence lasts many times as long as some phones
    axes.set_yticks(_TICKS, [str(tick) for tick in _TICKS])
    axes.minorticks_off()
    means = np.array([[own[n] for n in ordered] for own in rows])
    axes.set_ylim(means.min() / 1.15, means.max() * 1.15)
    axes.set_xlabel("phones, by their duration in speech", fontsize=SMALL)
    axes.set_ylabel("mean duration (ms)", fontsize=SMALL)


def _draw_frequencies(axes: Axes, speech: Runs, text: Runs) -> None:
    """Share of the frames of each unit, by that in speech."""
    shares: list[dict[str, float]] = []
    for runs in (speech, text):
        units, places = np.unique(runs.names, return_inverse=True)
        totals = np.bincount(places, runs.seconds)
        shares.append(dict(zip(units.tolist(), 100 * totals / totals.sum(), strict=True)))
    names = sorted(shares[0].keys() | shares[1].keys(), key=lambda n: -shares[0].get(n, 0.0))
    _draw_marks(axes, names, [[own.get(n, 0.0) for n in names] for own in shares])
    axes.set_xlabel("hidden units, by their share in speech", fontsize=SMALL)
    axes.set_ylabel("share of the time (%)", fontsize=SMALL)
    axes.set_ylim(bottom=0)


def _draw_marks(axes: Axes, names: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
    """Marks of speech and text beside each other."""
    for number, row in enumerate(rows):
        look, size = style(number), 7 if len(names) <= 100 else 4
        places = np.arange(len(names)) + (number - 0.5) * 0.3
        axes.plot(places, row, look.marker, color=look.color, markersize=size)
    axes.set_xlim(-1, len(names))
