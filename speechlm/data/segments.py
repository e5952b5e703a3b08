"""Utterances that are parts of long recordings: lines of `segments`, and how their audio is read.

A line of the table `segments` is `UTTERANCE RECORDING START END`, perhaps with a channel of the
recording behind it. Times are in seconds; END -1 is the end of the recording.
Channels count from 0; -1: not said. Where there is such a table, wav.scp holds recordings.
Source: Kaldi's program `extract-segments`.
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass

import numpy as np

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.audio import read_audio

SEGMENTS = "segments"
"""Name of the table inside a data directory."""
_DECIMALS = 7  # of a time: a sample at 16 kHz lasts 0.0000625 s


class SegmentError(ValueError):
    """A line of `segments` that cannot be used: its kind, for counting, and what was found."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a recording."""

    recording: str
    start: float = 0.0
    """Seconds."""
    end: float | None = None
    """Seconds; None: the end of the recording."""
    channel: int | None = None
    """From 0; None: not said."""

    @classmethod
    def parse(cls, value: str) -> Segment:
        """Read what a line has behind the id of the utterance.

        Raises:
            SegmentError: it is no segment, or ends before it starts.
        """
        recording, *rest = value.split() or [""]
        recording = sys.intern(recording)  # many segments name the same one
        try:
            start, end = (round(float(time), _DECIMALS) for time in rest[:2])
            channel = int(rest[2]) if len(rest) == 3 else -1
        except ValueError:
            rest = []
        if "_" in "".join(rest):  # `1_0` is a number in Python alone
            rest = []
        if len(rest) not in (2, 3) or not (math.isfinite(start) and math.isfinite(end)):
            raise SegmentError(
                "bad segment",
                f"`RECORDING START END` expected, times in seconds, perhaps with a channel from 0"
                f" behind them, got {value!r}",
            )
        if start < 0 or channel < -1 or (end < 0 and end != -1):
            raise SegmentError(
                "bad segment",
                f"times and a channel from 0 expected (-1: the end, any channel), got {value!r}",
            )
        if end != -1 and end <= start:
            raise SegmentError("segment ends before it starts", f"{start:g}..{end:g} s")
        return cls(recording, start, None if end == -1 else end, None if channel == -1 else channel)

    @classmethod
    def of_samples(cls, recording: str, start: int, stop: int, rate: int = SAMPLE_RATE) -> Segment:
        """Samples start..stop of a recording, exactly: `samples` gives the same numbers."""
        return cls(recording, round(start / rate, _DECIMALS), round(stop / rate, _DECIMALS))

    def __str__(self) -> str:
        """What a line has behind the id of the utterance."""
        end = -1.0 if self.end is None else self.end
        channel = "" if self.channel is None else f" {self.channel}"
        return f"{self.recording} {_time(self.start)} {_time(end)}{channel}"

    def samples(self, rate: int = SAMPLE_RATE) -> tuple[int, int | None]:
        """First sample, and the one behind the last; None: to the end of the recording."""
        return round(self.start * rate), None if self.end is None else round(self.end * rate)


@dataclass(frozen=True, slots=True)
class AudioRange:
    """Where the samples of an utterance are: a file, or a part of one."""

    path: str
    start: int = 0
    """First sample, at 16 kHz."""
    stop: int | None = None
    """The one behind the last; None: to the end of the file."""

    def __str__(self) -> str:
        """The path, and of a part its samples."""
        whole = self.start == 0 and self.stop is None
        stop = "" if self.stop is None else self.stop
        return self.path if whole else f"{self.path}, samples {self.start}..{stop}"

    def read(self) -> np.ndarray:
        """The samples, (S,) float32 in -1..1; of a long file only the part is read.

        Raises:
            ValueError: as `speechlm.data.audio.read_audio`: the file is missing, damaged, not mono,
                not 16 kHz, or ends before the part does.
        """
        return read_audio(self.path, SAMPLE_RATE, self.start, self.stop)

    def part(self, start: int, n: int) -> AudioRange:
        """The n samples from sample `start` of this utterance on."""
        first = self.start + start
        return AudioRange(self.path, first, first + n)

    def state(self) -> str:
        """What tells these samples from others under the same name: size and time of the file.

        Raises:
            OSError: the file is not there.
        """
        found = os.stat(self.path)
        mark = f"{found.st_size}.{found.st_mtime_ns}"
        whole = self.start == 0 and self.stop is None
        return mark if whole else f"{mark}.{self.start}.{self.stop}"


def _time(seconds: float) -> str:
    """Without needless zeros."""
    return f"{seconds:.{_DECIMALS}f}".rstrip("0").rstrip(".")
