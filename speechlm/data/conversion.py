"""Recordings for a dump directory: those that can be used where they are, copies of the others.

The work of one process on one file, and what became of the utterances in it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.conventions import SAMPLE_RATE
from speechlm.data import audio, ranges
from speechlm.data.atomic import output_file
from speechlm.data.segments import AudioRange, Segment

RULES = 3
"""Number of the rules of conversion: what was converted by others is made again."""
_WRONG_LENGTH = "wrong length in the header"
_CLIPPING = "clipped"
_BEYOND = "segment reaches beyond the end"
_CLIPPED = 0.001
"""Share of samples beyond full scale from which a file is reported; fewer are usual after MP3."""


@dataclass(frozen=True, kw_only=True)
class AudioOptions:
    """How audio is checked and converted."""

    rate: int = SAMPLE_RATE
    """Sampling rate (Hz)."""
    quick: bool = False
    """Check header and end of FLAC files only (see audio.check_audio)."""
    mix_channels: bool = False
    """Take the mean of several channels instead of leaving such files out."""

    def __post_init__(self) -> None:
        if self.rate < 1:
            raise ValueError(f"a positive rate expected, got {self.rate}")


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, with those utterances that are parts of it."""

    path: str
    parts: dict[str, Segment]


@dataclass(frozen=True, slots=True)
class _Source:
    """What a copy is made from."""

    path: str
    state: str
    """See `AudioRange.state`."""

    def mark(self, segment: Segment | None = None) -> str:
        """What stands in a copy of the file, or of a part of it, to tell it from other copies."""
        return f"{self.state} {self.path}{f' {segment}' if segment else ''}"


@dataclass(frozen=True, slots=True)
class Result:
    """One utterance: where its usable audio is and how long, or what is wrong with it."""

    path: str = ""
    n_samples: int = 0
    kind: str = ""
    detail: str = ""
    segment: Segment | None = None
    """Of an utterance that stays a part of a recording."""
    fixed: tuple[str, ...] = ()
    """What was put right, each as `kind: detail`."""


def prepare_file(utterance: str, path: str, folder: Path, options: AudioOptions) -> Result:
    """Check an utterance that is a whole file; write folder/UTTERANCE.flac if it has to be."""
    try:
        with _unchanged(path) as source:
            info = audio.read_header(path)
            if _can_stay(info, options):
                info = audio.check_audio(path, options.quick)
                if info.plain and info.n_samples is not None:
                    return Result(path, info.n_samples)
            target = folder / f"{utterance}.flac"
            return _done(target, source) or _convert(target, source, options)
    except audio.AudioError as error:
        return _wrong(error)


def prepare_parts(recording: Recording, folder: Path, options: AudioOptions) -> dict[str, Result]:
    """The same for the utterances of a recording, which is checked and decoded once for all."""
    path = recording.path
    try:
        with _unchanged(path) as source:
            info = audio.read_header(path)
            if _can_stay(info, options):
                segments = list(recording.parts.values())
                info, found = ranges.check_ranges(path, info.rate, segments, options.quick)
                if info.plain:
                    return _used_in_place(recording, found, options)
            return _convert_parts(recording, source, folder, options)
    except audio.AudioError as error:
        return dict.fromkeys(recording.parts, _wrong(error))


@contextmanager
def _unchanged(path: str) -> Iterator[_Source]:
    """A file as it is before the block, in which it is read, and must be after it.

    Raises:
        UnreadableAudio: it has changed, or there is none.
    """

    def state() -> str:
        try:
            return AudioRange(path).state()
        except OSError:
            raise audio.UnreadableAudio(path, "no such file") from None

    source = _Source(path, state())
    yield source
    if state() != source.state:
        raise audio.UnreadableAudio(path, "it has changed while it was read; run again")


def _can_stay(info: audio.AudioInfo, options: AudioOptions) -> bool:
    return info.container == "FLAC" and info.rate == options.rate and info.n_channels == 1


def _wrong(error: audio.AudioError) -> Result:
    return Result(kind=error.kind, detail=error.reason)


def _used_in_place(
    recording: Recording, found: list[tuple[int, int] | audio.AudioError], options: AudioOptions
) -> dict[str, Result]:
    results = {}
    for (utterance, segment), at in zip(recording.parts.items(), found, strict=True):
        if isinstance(at, audio.AudioError):
            results[utterance] = _wrong(at)
        else:
            start, stop = at
            exact = Segment.of_samples(segment.recording, start, stop, options.rate)
            fixed = _beyond(segment, options.rate, stop - start)
            results[utterance] = Result(recording.path, stop - start, segment=exact, fixed=fixed)
    return results


def _beyond(segment: Segment, rate: int, n_samples: int) -> tuple[str, ...]:
    """What is to be said of a segment that is longer than its samples, which end with the file."""
    start, stop = segment.samples(rate)
    extra = 0 if stop is None else stop - start - n_samples
    return (f"{_BEYOND}: {extra} samples at {rate} Hz",) if extra else ()


def _convert_parts(
    recording: Recording, source: _Source, folder: Path, options: AudioOptions
) -> dict[str, Result]:
    """Utterances that become files; those that an earlier run has made are kept.

    Raises:
        AudioError: the recording is damaged; nothing that was made of it is left.
    """
    path, results, rest = recording.path, {}, {}
    for utterance, segment in recording.parts.items():
        if done := _done(folder / f"{utterance}.flac", source, segment):
            results[utterance] = done
        else:
            rest[utterance] = segment
    if not rest:
        return results
    ids, segments = list(rest), list(rest.values())
    try:
        info = audio.measure(path)
        for n, found in ranges.decode_ranges(path, info, segments, options.mix_channels):
            if isinstance(found, audio.AudioError):
                results[ids[n]] = _wrong(found)
                continue
            fixed = (*_header_note(info.note), *_beyond(segments[n], info.rate, len(found)))
            target = folder / f"{ids[n]}.flac"
            rate, part = info.rate, segments[n]
            results[ids[n]] = _write(target, source, found, rate, fixed, options, part)
    except audio.AudioError:
        for utterance in recording.parts:
            (folder / f"{utterance}.flac").unlink(missing_ok=True)
        raise
    return results


def _convert(target: Path, source: _Source, options: AudioOptions) -> Result:
    """Write a file as mono FLAC of the right rate."""
    decoded = audio.decode_whole(source.path, options.mix_channels)
    note = _header_note(decoded.note)
    return _write(target, source, decoded.waveform, decoded.rate, note, options)


def _header_note(note: str) -> tuple[str, ...]:
    return (f"{_WRONG_LENGTH}: {note}",) if note else ()


def _write(
    target: Path,
    source: _Source,
    waveform: np.ndarray,
    rate: int,
    fixed: tuple[str, ...],
    options: AudioOptions,
    segment: Segment | None = None,
) -> Result:
    """Write (S,) samples of a recording, or of a part of it, as mono FLAC of the right rate.

    Nothing is written that is not sound.

    Silence and length are judged on the samples that are written: mixed, resampled, rounded. What
    is wrong with them is no error of the whole recording.
    """
    try:
        waveform = audio.resample(waveform, rate, options.rate)
        audio.expect_sound(source.path, waveform, " after resampling")
        samples, n_clipped = audio.to_16_bits(waveform)
        audio.expect_sound(source.path, samples, " after rounding to 16 bits")
        if n_clipped > _CLIPPED * len(samples):
            clipping = f"{n_clipped} of {len(samples)} samples were beyond full scale"
            fixed = (*fixed, f"{_CLIPPING}: {clipping}")
        with output_file(target, tidy=False) as temporary:
            comment = "\n".join((source.mark(segment), *fixed))
            audio.write_flac(temporary, samples, options.rate, comment)
    except audio.AudioError as error:
        return _wrong(error)
    return Result(str(target), len(samples), fixed=fixed)


def _done(target: Path, source: _Source, segment: Segment | None = None) -> Result | None:
    """What an earlier run has made of this file, or part of one, if it has not changed since."""
    if not target.is_file():
        return None
    try:
        n_samples = audio.check_audio(target, quick=True).n_samples
        assert n_samples is not None
        mark, *fixed = audio.read_comment(target).split("\n")
    except audio.AudioError:
        logging.getLogger(__name__).warning("%s is damaged and is made again", target)
        return None
    if mark != source.mark(segment):
        return None
    return Result(str(target), n_samples, fixed=tuple(fixed))
