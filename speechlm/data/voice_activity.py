"""Where there is speech in a long recording, and how it is cut into segments.

Intervals are (start, end) in seconds. They come from a table, or from the energy of the recording,
which is read block by block.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechlm.data import audio

Interval = tuple[float, float]

_FRAMES = 100  # a second, or a little more where the rate is no multiple of it
_BLOCK = 60 * _FRAMES  # frames read at a time
_FLOOR = -60.0  # dB of full scale below which nothing is speech
_CLEAR = 10.0  # dB between loud and quiet frames, at least, where pauses can be told from speech
_SHARE = 0.35  # of the way from quiet to loud, where speech begins
_GAP, _BURST, _MARGIN = 30, 10, 10  # frames: shorter pauses, shorter noises; added at both sides


@dataclass(frozen=True)
class CutOptions:
    """How intervals of speech become segments."""

    max_seconds: float = 30.0
    """No segment is longer."""
    min_seconds: float = 2.0
    """Shorter ones are left out: pre-training takes none below 2 s (32,000 samples)."""
    max_pause: float = 2.0
    """Longer pauses (seconds) are in no segment."""

    def __post_init__(self) -> None:
        if not 0.1 <= self.min_seconds <= self.max_seconds or not self.max_pause >= 0:
            raise ValueError(
                "a shortest segment of 0.1 s or more, a longest that is no shorter, and a pause of"
                f" 0 s or more expected, got --min_seconds {self.min_seconds:g}, --max_seconds"
                f" {self.max_seconds:g} and --max_pause {self.max_pause:g}"
            )


def sound_intervals(table: object, seconds: float) -> tuple[list[Interval], int, int] | None:
    """The intervals of a table in order, with overlapping ones joined.

    Args:
        table: what is to be a list of [start, end] pairs.
        seconds: length of the recording.

    Returns:
        The intervals; how many were wrong (no pair of numbers, negative, end not after start, or
        wholly beyond the end) and are left out; how many reached beyond the end and are cut there.
        None: it is no such list, or has none that can be used among some.
    """
    if not isinstance(table, list):
        return None
    sound = [pair for pair in table if _is_interval(pair) and pair[0] < seconds]
    if table and not sound:
        return None
    joined: list[Interval] = []
    for start, end in sorted(sound):
        end = min(end, seconds)
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((float(start), float(end)))
    return joined, len(table) - len(sound), sum(end > seconds for _, end in sound)


def cut(
    intervals: Sequence[Interval], options: CutOptions
) -> tuple[list[Interval], list[Interval]]:
    """Join neighbours into segments, as many as fit; cut what is too long into equal parts.

    A segment holds the pauses between its intervals. (Libri-Light's own script joins intervals in
    the same way, but takes out pauses and leaves long intervals whole.)

    Args:
        intervals: in order, without overlaps.
        options: lengths.

    Returns:
        Segments, and those that are too short.
    """
    joined: list[Interval] = []
    for start, end in intervals:
        if joined:
            first, last = joined[-1]
            if end - first <= options.max_seconds and start - last <= options.max_pause:
                joined[-1] = (first, end)
                continue
        joined.append((start, end))
    parts: list[Interval] = []
    for start, end in joined:
        n = math.ceil((end - start) / options.max_seconds - 1e-9)
        bounds = [start + (end - start) * i / n for i in range(n)] + [end]
        parts += zip(bounds, bounds[1:], strict=False)
    kept = [part for part in parts if part[1] - part[0] >= options.min_seconds]
    return kept, [part for part in parts if part[1] - part[0] < options.min_seconds]


def find_speech(path: str | os.PathLike[str]) -> list[Interval]:
    """Intervals of a recording in which it is loud, in order; none if it is silent.

    A frame of 10 ms is loud if its energy in dB is more than a third of the way from the
    recording's quiet frames (10th percentile) to its loud ones (95th). Where these are less than
    10 dB apart, no pause can be told from speech, and all is one interval. Memory: 4 bytes a frame
    (1.4 MB an hour), and a minute of audio.

    Raises:
        AudioError: the recording is no audio, damaged, or cannot be read to its end.
    """
    level, seconds = _levels(path)
    return [(first * seconds, last * seconds) for first, last in loud_runs(level)]


def loud_runs(
    level: np.ndarray, floor: float = _FLOOR, burst: int = _BURST
) -> list[tuple[int, int]]:
    """Runs of loud frames as `find_speech` defines them, with margins, in frames of 10 ms.

    Args:
        level: (T,) dB of full scale.
        floor: nothing below it is loud.
        burst: runs of fewer frames are left out.
    """
    if not len(level):
        return []
    quiet, loud = np.percentile(level, (10, 95))
    if loud < floor:
        return []
    if loud - quiet < _CLEAR:
        return [(0, len(level))]
    return _runs(level > max(floor, quiet + _SHARE * (loud - quiet)), burst)


def frame_levels(mono: np.ndarray, hop: int) -> np.ndarray:
    """(S,) samples -> (S // hop,) energy of each whole frame of `hop` samples, dB of full scale."""
    frames = mono[: len(mono) // hop * hop].reshape(-1, hop)
    # mean square of a frame; 1e-10 is -100 dB
    return 10 * np.log10(np.square(frames).mean(axis=1) + 1e-10)


def _is_interval(pair: object) -> bool:
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    numbers = all(isinstance(time, int | float) for time in pair)
    return numbers and 0 <= pair[0] < pair[1] < 1e9  # false for NaN and infinity, too


def _levels(path: str | os.PathLike[str]) -> tuple[np.ndarray, float]:
    """Energy of each whole frame, (T,) float32, dB of full scale; and how long a frame is (s)."""
    rate = audio.read_header(path).rate
    hop = max(1, rate // _FRAMES)
    levels, rest = [np.zeros(0, np.float32)], np.zeros(0, np.float32)
    for block in audio.read_blocks(path, hop * _BLOCK):
        mono = np.concatenate([rest, block.mean(axis=1)])
        whole = len(mono) // hop * hop  # samples of whole frames; the rest goes before the next
        levels.append(frame_levels(mono, hop))
        rest = mono[whole:]
    return np.concatenate(levels), hop / rate


def _runs(speech: np.ndarray, burst: int) -> list[tuple[int, int]]:
    """(T,) bool -> runs of speech in frames, without short noises, over short pauses."""
    # +1 where a run begins, -1 behind its end
    steps = np.diff(speech.astype(np.int8), prepend=0, append=0)
    runs: list[list[int]] = []
    for first, last in zip(np.flatnonzero(steps > 0), np.flatnonzero(steps < 0), strict=True):
        if runs and first - runs[-1][1] < _GAP:
            runs[-1][1] = int(last)
        else:
            runs.append([int(first), int(last)])
    return [
        (max(0, first - _MARGIN), min(len(speech), last + _MARGIN))
        for first, last in runs
        if last - first >= burst
    ]
