"""Emissions of recordings of any length: windows for the network, one stream of frames.

The network sees windows that begin and end in pauses where there are some, and a little of what is
beside them. Where two windows overlap their frames are joined at a place where both see the end of
a word, so that none is lost, doubled or made of two halves. S samples (16 kHz), T frames, V
characters. A frame of emissions is an output of the CTC head, of which a fast model has two a frame
of its own; they are numbered from the recording's beginning. A window begins where a whole frame
of the model does, so that its outputs are some of the recording's:

    samples        0          640        1280       1920
    model's frames | 0        | 1        | 2        | 3        a fast model's, H = 640
    emissions      | 0  | 1   | 2  | 3   | 4  | 5   | 6  | 7   20 ms each
    windows        |------------ ... window 0
                              |------------ ... window 2, never 1 or 3
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from speechlm.checkpoints.ctc_encoder import CTCModel
from speechlm.conventions import SAMPLE_RATE, Framing
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.data.voice_activity import frame_levels, loud_runs
from speechlm.decode.emissions import check_emissions
from speechlm.decode.write_emissions import log_probabilities

_HOP = 160  # samples for which the loudness is measured (10 ms)
_FLOOR = -90.0  # dB of full scale: the last bit of 16; below is digital silence
_BURST = 5  # hops (50 ms): shorter noises between pauses are no words
_PAUSE = 1.0  # seconds: longer pauses end a window
_EDGE = 0.25  # seconds of a pause, at most, that a window begins and ends with
_QUIET = 20  # hops (0.2 s) over which the quietest place is looked for
_SURE = 2  # frames (40 ms) beside a seam in which both windows should see blanks, too
_NOTHING = -12.0  # log-probability of a character where the network has not looked


@dataclass(frozen=True)
class WindowOptions:
    """What of a long recording the network sees at once: best what it was trained on.

    Raises:
        ValueError: a window shorter than 2 s, or values that do not go together.
    """

    longest: float = 24.0
    """Seconds between two cuts, at most. Recordings that are no longer are seen as a whole."""
    usual: float = 14.0
    """Seconds to which stretches between pauses are joined; the median of LibriSpeech's."""

    def __post_init__(self) -> None:
        if not 2 <= self.longest <= 3600 or not 0 <= self.usual <= self.longest:
            raise ValueError(
                "windows of 2 s to 3600 s, and a usual one that is no longer, expected, got "
                f"{self.longest:g} s and {self.usual:g} s"
            )

    @property
    def context(self) -> float:
        """Seconds that a window has more where it is cut without a pause."""
        return min(1.0, self.longest / 8)

    @property
    def ahead(self) -> int:
        """Samples of the recording from which the next windows are planned: more than two."""
        return round(max(60.0, 3 * self.longest) * SAMPLE_RATE)


@dataclass(frozen=True)
class CutOptions:
    """How emissions are cut for the search; in frames of theirs."""

    pause: int
    """A gap between words that is as long ends a segment."""
    max_frames: int
    """Where there is no such gap, a segment ends in the longest one before this."""


@dataclass(frozen=True)
class Window:
    """A part of a recording for the network."""

    first: int
    """Number of its first frame of emissions."""
    waveform: np.ndarray
    """(S,)."""


def emission_stream(
    model: CTCModel, blocks: Iterable[np.ndarray], options: WindowOptions, batch_samples: int
) -> Iterator[np.ndarray]:
    """Log-probabilities of a recording's frames, from the first to the last, in parts (T, V).

    Args:
        model: in evaluation mode.
        blocks: (S,) float32, all samples of the recording in order.
        options: of the windows.
        batch_samples: padded samples of a batch of windows.

    Raises:
        ValueError: values that are not finite.
    """
    windows = plan_windows(blocks, model.framing, options)
    return stitch(_computed(model, windows, batch_samples))


def plan_windows(
    blocks: Iterable[np.ndarray], framing: Framing, options: WindowOptions
) -> Iterator[Window]:
    """Windows of a recording, in order; in memory are `options.ahead` samples of it.

    The recording's parts that are in no window are pauses: more than `_EDGE` seconds away from
    anything that `voice_activity.loud_runs` calls loud, in the minute around it.
    """
    reader = _Reader(blocks, options.context)
    reader.fill(options.ahead)
    if reader.ended and len(reader.samples) <= options.longest * SAMPLE_RATE:
        if framing.frames(len(reader.samples)):
            yield Window(0, reader.samples)
        return
    before = -math.inf  # where the piece before ends, in hops from where the plan begins
    while True:
        is_last = reader.ended and len(reader.ahead) <= options.ahead
        level = frame_levels(reader.ahead[: options.ahead], _HOP)
        pieces = plan(level, options)
        # what ends here may go on behind: it waits
        edge = len(level) if is_last else len(level) - _hops(_PAUSE)
        done = sum(last <= edge for _, last in pieces)
        for (first, last), follower in zip(pieces[:done], [*pieces[1:], None], strict=False):
            after = math.inf if follower is None else follower[0]
            start = first - _margin(first - before, options)
            stop = last + _margin(after - last, options)
            found = reader.window(start * _HOP, stop * _HOP, framing)
            if framing.frames(len(found.waveform)):
                yield found
            before = last
        if is_last:
            return
        planned = min([edge, *(first for first, _ in pieces[done:])])
        before -= planned
        reader.skip(planned * _HOP)
        reader.fill(options.ahead)


def plan(level: np.ndarray, options: WindowOptions) -> list[tuple[int, int]]:
    """(n,) loudness of a stretch (dB, hops of 10 ms) -> pieces, in hops, in order.

    Neighbours go together, over short pauses, as many as are no longer than usual; what is too long
    without a pause is cut where it is quietest.
    """
    usual, most = _hops(options.usual), _hops(options.longest)
    joined: list[tuple[int, int]] = []
    for first, last in loud_runs(level, _FLOOR, _BURST):
        if joined:
            start, stop = joined[-1]
            if last - start <= usual and first - stop <= _hops(_PAUSE):
                joined[-1] = (start, last)
                continue
        joined.append((first, last))
    # mean loudness around each hop; the ends, where it is of fewer hops, are never cut at
    smooth = np.convolve(level, np.full(_QUIET, 1 / _QUIET), "same")
    pieces = []
    for first, last in joined:
        while last - first > most:
            # the second half of what fits, but leave a quarter at least for the next
            low, high = first + most // 2, min(first + most, last - most // 4)
            cut = low + int(smooth[low:high].argmin())
            pieces.append((first, cut))
            first = cut
        pieces.append((first, last))
    return pieces


def _hops(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / _HOP)


def _margin(pause: float, options: WindowOptions) -> int:
    """Hops that a window has beside its piece: half a pause, or, at a cut, its neighbour's."""
    return _hops(options.context) if pause <= 0 else int(min(_hops(_EDGE), pause // 2))


def stitch(windows: Iterable[tuple[int, np.ndarray]]) -> Iterator[np.ndarray]:
    """One stream of frames from windows in order.

    Args:
        windows: number of the first frame, and (T, V) log-probabilities.

    Yields:
        Parts (T, V), of frames 0, 1, ...; blanks between windows that do not overlap.
    """
    held = np.zeros((0, CharacterVocabulary.n_ids), np.float32)
    start = 0  # of what is held
    for first, rows in windows:
        end = start + len(held)
        if first >= end:
            yield held
            yield from silence(first - end)
            held, start = rows, first
        else:
            # overlap: frames max(first, start) .. end, of both windows
            begin = max(first, start)
            cut = begin + seam(held[begin - start :], rows[begin - first : end - first])
            yield held[: cut - start]
            held, start = rows[cut - first :], cut
    yield held


def seam(left: np.ndarray, right: np.ndarray) -> int:
    """Where to go from the frames of one window to those of the next: right[n] follows left[n - 1].

    Args:
        left, right: (T, V) of the same frames, seen from both.

    Returns:
        A frame, as far as can be in the inner half, between words in both, and surely a blank.
    """
    blank, n = CharacterVocabulary.blank, len(left)
    if not n:
        return 0
    # A character that one window sees some frames later than the other one must not be at the seam:
    # both should see blanks for a while, where the less sure of all these frames counts.
    both = np.minimum(left[:, blank], right[:, blank])
    padded = np.pad(both, _SURE, mode="edge")
    sure = np.lib.stride_tricks.sliding_window_view(padded, 2 * _SURE + 1).min(1)
    inner = np.zeros(n, bool)
    inner[n // 4 : n - n // 4] = True
    words = between_words(left) & between_words(right)
    candidates = next(c for c in (inner & words, words & (np.arange(n) > 0), inner) if c.any())
    return int(np.where(candidates, sure, -np.inf).argmax())


def between_words(emissions: np.ndarray) -> np.ndarray:
    """(T, V) -> (T,) whether a frame's best character is a blank with no word begun before it."""
    vocabulary = CharacterVocabulary
    best = emissions.argmax(1)
    # number of the last frame that is no blank; -1: there is none
    last = np.maximum.accumulate(np.where(best != vocabulary.blank, np.arange(len(best)), -1))
    ended = np.where(last >= 0, best[last], vocabulary.word_end) == vocabulary.word_end
    return (best == vocabulary.blank) & ended


def cut_at_pauses(stream: Iterable[np.ndarray], options: CutOptions) -> Iterator[np.ndarray]:
    """The frames of a stream in segments for the search, cut between words.

    Args:
        stream: parts (T, V) of log-probabilities.
        options: where to cut.
    """
    held = np.zeros((0, CharacterVocabulary.n_ids), np.float32)
    for part in stream:
        held = np.concatenate([held, part])
        while cut := _cut(held, options):
            yield held[:cut]
            held = held[cut:]
    if len(held):
        yield held


def _cut(emissions: np.ndarray, options: CutOptions) -> int:
    """Frames of the first segment; 0: it may go on behind what is there."""
    n, most = len(emissions), options.max_frames
    words = between_words(emissions[: most + options.pause])
    # +1 where a gap begins, -1 behind its end; the last one may go on
    steps = np.diff(words.astype(np.int8), prepend=0, append=0)
    begins, ends = np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist()
    gaps: list[tuple[int, int]] = list(zip(begins, ends, strict=True))
    for first, last in gaps:
        if 0 < first < most and last - first >= options.pause and last < len(words):
            return (first + last) // 2
    if n < most + options.pause:
        return 0
    # no pause in all of that: the longest gap in the second half, or the surest blank
    low = most // 2
    inner = [(max(first, low), min(last, most)) for first, last in gaps if last > low]
    first, last = max(inner, key=lambda gap: gap[1] - gap[0], default=(0, 0))
    if last > first:
        return (first + last) // 2
    return low + int(emissions[low:most, CharacterVocabulary.blank].argmax())


def silence(frames: int) -> Iterator[np.ndarray]:
    """Parts (T, V) of so many frames that are blanks."""
    part = np.full((1000, CharacterVocabulary.n_ids), _NOTHING, np.float32)
    # probabilities of a frame have the sum 1
    part[:, CharacterVocabulary.blank] = np.log1p(-(part.shape[1] - 1) * np.exp(_NOTHING))
    for start in range(0, frames, len(part)):
        yield part[: frames - start]


def _computed(
    model: CTCModel, windows: Iterable[Window], batch_samples: int
) -> Iterator[tuple[int, np.ndarray]]:
    """First frames and emissions of windows, computed in batches."""
    for batch in _batches(windows, batch_samples):
        found = log_probabilities(model, [window.waveform for window in batch])
        for window, emissions in zip(batch, found, strict=True):
            where = f"from {window.first * model.framing.seconds:.1f} s on"
            yield window.first, check_emissions(emissions, where)


def _batches(windows: Iterable[Window], batch_samples: int) -> Iterator[list[Window]]:
    batch: list[Window] = []
    for window in windows:
        widest = max(len(w.waveform) for w in itertools.chain(batch, [window]))
        if batch and (len(batch) + 1) * widest > batch_samples:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


class _Reader:
    """A stretch of a recording: what has been planned (the context), and what is to be.

    samples:  | context | ahead ...          |
              ^ origin  ^ planned (sample of the recording)
    """

    def __init__(self, blocks: Iterable[np.ndarray], context: float) -> None:
        self._blocks, self.context = iter(blocks), round(context * SAMPLE_RATE)
        self.samples, self.origin, self.planned = np.zeros(0, np.float32), 0, 0
        self.ended = False

    @property
    def ahead(self) -> np.ndarray:
        """(S,) samples that are not planned."""
        return self.samples[self.planned - self.origin :]

    def fill(self, wanted: int) -> None:
        """Read on until so many samples are ahead, and as much context behind the last."""
        parts = [self.samples]
        missing = wanted + self.context - len(self.ahead)
        while missing > 0 and not self.ended:
            block = next(self._blocks, None)
            if block is None:
                self.ended = True
            else:
                parts.append(block)
                missing -= len(block)
        self.samples = np.concatenate(parts)

    def skip(self, samples: int) -> None:
        """So many samples are planned; forget what is no more context."""
        self.planned += samples
        origin = max(self.origin, self.planned - self.context)
        self.samples, self.origin = self.samples[origin - self.origin :], origin

    def window(self, first: int, last: int, framing: Framing) -> Window:
        """Samples first .. last ahead, as far as they are there, from a model's frame on."""
        end = self.origin + len(self.samples)
        start = max(self.origin, self.planned + first)
        frame = -(-start // framing.shift)
        start = frame * framing.shift
        stop = min(end, max(self.planned + last, start + framing.window))
        waveform = self.samples[start - self.origin : stop - self.origin]
        return Window(frame * framing.parts, waveform)
