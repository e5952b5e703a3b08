"""Checks and decoding of parts of audio files: a long file is decoded once for all of its parts.

Parts that have to be converted are cut out while the file is decoded from its beginning, since in
Ogg and MP3 files seeking is not exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from speechlm.conventions import SAMPLE_RATE, WINDOW
from speechlm.data import audio
from speechlm.data.segments import Segment

_SPARE = WINDOW / SAMPLE_RATE  # seconds that a segment may reach beyond the end: a frame


class RangeError(audio.AudioError):
    """A segment that is not inside of its recording."""

    kind = "segment outside of its recording"


def place(path: str, info: audio.AudioInfo, segment: Segment) -> tuple[int, int]:
    """First sample of a segment and the one behind the last, at the file's own rate.

    An end that is less than a frame (25 ms) beyond the file's becomes the file's.

    Args:
        path: the file.
        info: of `audio.measure` or `audio.check_audio`, which tell the true length.
        segment: the part.

    Raises:
        RangeError: the segment is not inside of the file, or the file does not have its channel.
        EmptyAudio: the segment is shorter than a sample.
    """
    if segment.channel is not None and segment.channel >= info.n_channels:
        raise RangeError(
            path, f"channel {segment.channel} expected, there are {info.n_channels}, from 0 on"
        )
    n_samples = info.n_samples
    assert n_samples is not None
    first, stop = segment.samples(info.rate)
    if stop is None:
        stop = n_samples
    if first >= n_samples or stop > n_samples + round(_SPARE * info.rate):
        raise RangeError(
            path,
            f"{first / info.rate:.3f}..{stop / info.rate:.3f} s expected, the recording has"
            f" {n_samples / info.rate:.3f} s",
        )
    stop = min(stop, n_samples)
    if stop <= first:
        raise audio.EmptyAudio(path, f"no sample between {segment.start} and {segment.end} s")
    return first, stop


def check_ranges(
    path: str, rate: int, segments: Sequence[Segment], quick: bool = False
) -> tuple[audio.AudioInfo, list[tuple[int, int] | audio.AudioError]]:
    """Check a mono file once, as `check_audio` does, and each of the segments in it.

    Args:
        path: the file.
        rate: its sampling rate (Hz).
        segments: parts of it.
        quick: make the quick check of `check_audio`, which does not look for silence.

    Returns:
        What `check_audio` has found, and for each segment its samples, or what is wrong with it:
        outside of the file, or nothing but zeros.

    Raises:
        AudioError: the file as a whole is damaged.
    """
    asked = [segment.samples(rate) for segment in segments]
    waiting = sorted(range(len(segments)), key=lambda n: asked[n][0], reverse=True)
    begun: set[int] = set()
    silent = set(range(len(segments)))

    def watch(first: int, block: np.ndarray) -> None:
        # only at the segments of which the block has a part: a file of a day has thousands
        while waiting and asked[waiting[-1]][0] < first + len(block):
            begun.add(waiting.pop())
        for n in list(begun):
            start, stop = asked[n]
            # samples start .. stop of the file, counted within the block
            end = len(block) if stop is None else min(len(block), stop - first)
            if block[max(0, start - first) : end].any():
                silent.remove(n)
                begun.remove(n)
            elif stop is not None and stop <= first + len(block):
                begun.remove(n)

    info = audio.check_audio(path, quick, watch)
    found: list[tuple[int, int] | audio.AudioError] = []
    for n, segment in enumerate(segments):
        try:
            found.append(place(path, info, segment))
            if n in silent and not quick:
                found[n] = audio.EmptyAudio(path, f"all samples are zero ({segment})")
        except audio.AudioError as error:
            found.append(error)
    return info, found


def decode_ranges(
    path: str, info: audio.AudioInfo, segments: Sequence[Segment], mix_channels: bool = False
) -> Iterator[tuple[int, np.ndarray | audio.AudioError]]:
    """Segments of a file of any rate and format, which is decoded once, to its end.

    Of several channels the segment's is taken; where it says none, several are an error unless
    `mix_channels`, which takes their mean. In memory are a block of the file and those segments
    that it is in.

    Args:
        path: the file.
        info: of `audio.measure`.
        segments: parts of it.
        mix_channels: whether the mean of several channels is wanted.

    Yields:
        Number of a segment and its samples, (S,) float32 at the file's rate; or what is wrong: as
        `place`, several channels, nothing but zeros, samples that are not finite numbers.

    Raises:
        AudioError: the file is damaged, which may be seen behind the last segment only.
    """
    places: dict[int, tuple[int, int]] = {}
    for n, segment in enumerate(segments):
        try:
            if info.n_channels > 1 and segment.channel is None and not mix_channels:
                raise audio.ChannelError(path, f"one channel expected, found {info.n_channels}")
            places[n] = place(path, info, segment)
        except audio.AudioError as error:
            yield n, error
    waiting = sorted(places, key=lambda n: places[n], reverse=True)
    begun: dict[int, list[np.ndarray]] = {}
    position = 0
    for block in audio.read_blocks(path):
        end = position + len(block)
        while waiting and places[waiting[-1]][0] < end:
            begun[waiting.pop()] = []
        for n in list(begun):
            first, stop = places[n]
            # samples max(first, position) .. stop of the file, counted within the block
            part = block[max(0, first - position) : stop - position]
            begun[n].append(_mono(part, segments[n]))
            if stop <= end:
                yield n, _checked(path, segments[n], begun.pop(n))
        position = end
    if begun or waiting:
        raise audio.TruncatedAudio(path, f"{info.n_samples} samples expected, found {position}")


def _mono(block: np.ndarray, segment: Segment) -> np.ndarray:
    if segment.channel is not None:
        return block[:, segment.channel].copy()
    with np.errstate(over="ignore"):  # `_checked` sees what becomes infinite
        return block.mean(axis=1, dtype=np.float32)  # of one channel: the same numbers


def _checked(
    path: str, segment: Segment, parts: Sequence[np.ndarray]
) -> np.ndarray | audio.AudioError:
    waveform = np.concatenate(parts)
    if not np.all(np.isfinite(waveform)):
        return audio.UnreadableAudio(path, f"some samples are not finite numbers ({segment})")
    if not np.any(waveform):
        return audio.EmptyAudio(path, f"all samples are zero ({segment})")
    return waveform
