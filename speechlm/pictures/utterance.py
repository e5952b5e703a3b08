"""The picture of an utterance: waveform, spectrogram, words, phones, units, predictions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechlm.conventions import SAMPLE_RATE
from speechlm.pictures.example import Example, Predictions, Span, shown
from speechlm.pictures.look import SMALL, About, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 14.0, 9.0  # inches
_ROWS = (1.2, 2.6, 0.55, 0.55, 0.3, 0.55, 0.55, 0.55)
"""Heights of the rows to each other."""
_LONGEST = 3.5  # seconds that are shown
_WINDOW, _SHIFT = 400, 80  # samples of a column of the spectrogram, and between two
_BINS = 4  # of the spectrum, that make a band
_RANGE = 60.0  # dB below the loudest that are drawn
_LEVELS = 20  # of grey: few, as noise makes the file large
_LETTER = 0.7  # width of a letter to its height
_UPRIGHT = 3  # letters that a row is high enough for
_PALE, _RIGHT, _WRONG = "#f2f2f2", "#cfe6f5", "#f7c6a3"


def draw_utterance(
    example: Example, predicted: Predictions, model: str, path: str | os.PathLike[str]
) -> None:
    """Draw rows over one axis of time; the first `_LONGEST` seconds of a longer utterance.

    Args:
        example: the utterance.
        predicted: a model's predictions of it.
        model: its name.
        path: the PNG file.
    """
    middle, top = (predicted.accuracy(row) for row in (predicted.middle, predicted.top))
    share = 100 * predicted.masked.mean()
    about = About(
        f"An utterance and what {model} predicts",
        f"{example.utterance}, which pre-training has heard. Dark bars: the masked frames "
        f"({share:.0f} %); below them their units as the middle and the top layer predict them: "
        f"{middle:.0f} % and {top:.0f} % of the frames are right; wrong ones are hatched. "
        f"{_folded(predicted)}No frame was swapped for its unit.",
    )
    end = min(_LONGEST, len(example.waveform) / SAMPLE_RATE)
    with sheet(path, about, _WIDTH, _HEIGHT) as figure:
        rows = figure.subplots(len(_ROWS), 1, sharex=True, height_ratios=_ROWS)
        _draw_wave(rows[0], example.waveform)
        _draw_spectrogram(rows[1], example.waveform)
        _draw_spans(rows[2], "words", example.words, end)
        _draw_spans(rows[3], "phones", example.phones, end)
        masked = ["x" if m else "" for m in predicted.masked]
        for span in predicted.spans(masked):
            rows[4].axvspan(span.start, span.end, color="#303030")
        _name(rows[4], "masked")
        units = predicted.spans([shown(target) for target in predicted.targets])
        _draw_spans(rows[5], "units", units, end)
        _draw_predicted(rows[6], f"middle\n{middle:.0f} % right", predicted, predicted.middle, end)
        _draw_predicted(rows[7], f"top\n{top:.0f} % right", predicted, predicted.top, end)
        rows[7].set_xlim(0, end)
        rows[7].set_xlabel("seconds", fontsize=SMALL)
        for number, axes in enumerate(rows):
            axes.tick_params(labelsize=SMALL)
            if 2 <= number < len(rows) - 1:
                axes.tick_params(axis="x", length=0)


def _folded(predicted: Predictions) -> str:
    """What the boxes do not show of their units."""
    if all(shown(target) == target for target in predicted.targets):
        return ""
    return (
        "A right unit has phone, stress and place in the word right; stress and place are not "
        "shown. "
    )


def _draw_wave(axes: Axes, waveform: np.ndarray) -> None:
    times = np.arange(len(waveform)) / SAMPLE_RATE
    axes.plot(times, waveform / max(float(np.abs(waveform).max()), 1e-9), color="black", lw=0.6)
    axes.set_ylim(-1.05, 1.05)
    axes.set_yticks([-1, 0, 1])
    axes.set_ylabel("amplitude\n(of the largest)", fontsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_spectrogram(axes: Axes, waveform: np.ndarray) -> None:
    """Power in bands of 125 Hz and windows of 25 ms, in dB below the loudest."""
    from matplotlib import colormaps

    padded = np.pad(waveform, (0, max(0, _WINDOW - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_SHIFT]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), 512)) ** 2  # (T, 257), 31.25 Hz each
    level = 10 * np.log10(power[:, :256].reshape(len(frames), -1, _BINS).mean(2) + 1e-12)
    first = (_WINDOW - _SHIFT) / 2  # a column stands in the middle of its window
    axes.imshow(
        level.T - level.max(),
        origin="lower",
        aspect="auto",
        extent=(first / SAMPLE_RATE, (first + len(frames) * _SHIFT) / SAMPLE_RATE, 0.0, 8.0),
        cmap=colormaps["Greys"].resampled(_LEVELS),
        vmin=-_RANGE,
        vmax=0.0,
        interpolation="none",
    )
    axes.set_ylabel("frequency (kHz)", fontsize=SMALL)
    axes.set_yticks(range(0, 9, 2))


def _draw_predicted(
    axes: Axes, name: str, predicted: Predictions, labels: Sequence[str], end: float
) -> None:
    """Boxes of the masked frames' units: pale if they are right, hatched if not."""
    marked = [
        f"{shown(label)} {int(label == target)}" if label else ""
        for label, target in zip(labels, predicted.targets, strict=True)
    ]
    spans = predicted.spans(marked)
    right = [span.label.endswith("1") for span in spans]
    plain = [Span(s.start, s.end, s.label[:-2]) for s in spans]
    _draw_spans(axes, name, plain, end, right)


def _draw_spans(
    axes: Axes, name: str, spans: Sequence[Span], end: float, right: Sequence[bool] | None = None
) -> None:
    """Boxes with labels, upright in narrow boxes; those too narrow for a line have none."""
    # Points of a second: a row has about nine tenths of the sheet's width
    points = 0.88 * 72 * _WIDTH / end
    for number, span in enumerate(spans):
        if span.start >= end:
            continue
        wrong = right is not None and not right[number]
        color = _PALE if right is None else _WRONG if wrong else _RIGHT
        stop = min(span.end, end)
        axes.axvspan(
            span.start, stop, facecolor=color, edgecolor="black", lw=0.7,
            hatch="///" if wrong else None,
        )  # fmt: skip
        width = (stop - span.start) * points
        lies = width > _LETTER * SMALL * len(span.label) + 2
        if lies or (width > SMALL and len(span.label) <= _UPRIGHT):
            box = {"boxstyle": "square,pad=0.05", "fc": color, "ec": "none"} if wrong else None
            axes.text(
                (span.start + stop) / 2, 0.5, span.label, ha="center", va="center",
                fontsize=SMALL, bbox=box, fontweight="bold" if wrong else "normal",
                rotation=0 if lies else 90,
            )  # fmt: skip
    _name(axes, name)


def _name(axes: Axes, name: str) -> None:
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=SMALL)
