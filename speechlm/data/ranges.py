"""Checks and decoding of parts of audio files: a long file is decoded once for all of its parts.

Parts that have to be converted are cut out while the file is decoded from its beginning, since in
Ogg and MP3 files seeking is not exact (see `audio.AudioFile`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import soundfile

from speechlm.conventions import SAMPLE_RATE, WINDOW
from speechlm.data import audio
from speechlm.data.segments import Segment

_BLOCK = 1 << 20  # samples decoded at a time
_SPARE = WINDOW / SAMPLE_RATE  # seconds that a segment may reach beyond the end: a frame


class RangeError(audio.AudioError):
    """A segment that is not inside of its recording."""


def place(path: str, info: audio.AudioInfo, segment: Segment) -> tuple[int, int]:
    """First sample of a segment and the one behind the last, at the file's own rate.

    An end that is less than a frame (25 ms) beyond the file's becomes the file's.

    Raises:
        RangeError: the segment is not inside of the file, or the file does not have its channel.
        EmptyAudio: the segment is shorter than a sample.
    """
    if segment.channel is not None and segment.channel >= info.n_channels:
        raise RangeError(
            path, f"channel {segment.channel} expected, there are {info.n_channels}, from 0 on"
        )
    first, stop = segment.samples(info.rate)
    if stop is None:
        stop = info.n_samples
    if first >= info.n_samples or stop > info.n_samples + round(_SPARE * info.rate):
        raise RangeError(
            path,
            f"{first / info.rate:.3f}..{stop / info.rate:.3f} s expected, the recording has"
            f" {info.n_samples / info.rate:.3f} s",
        )
    stop = min(stop, info.n_samples)
    if stop <= first:
        raise audio.EmptyAudio(path, f"no sample between {segment.start} and {segment.end} s")
    return first, stop


def overshoot(info: audio.AudioInfo, segment: Segment) -> int:
    """Samples, at the file's rate, by which a segment is longer than its file."""
    stop = segment.samples(info.rate)[1]
    if stop is None or _length_is_a_guess(info):
        return 0
    return max(0, stop - info.n_samples)


def _length_is_a_guess(info: audio.AudioInfo) -> bool:
    """MP3 files do not say how long they are."""
    return info.container.startswith(("MP3", "MPEG"))


def check_ranges(
    path: str, info: audio.AudioInfo, segments: Sequence[Segment], quick: bool = False
) -> list[tuple[int, int] | audio.AudioError]:
    """Check a mono file once, as `check_audio` does, and each of the segments in it.

    Returns:
        For each segment its samples, or what is wrong with it: outside of the file, or nothing but
        zeros (which the quick check does not look at).

    Raises:
        AudioError: the file as a whole is damaged.
    """
    found: list[tuple[int, int] | audio.AudioError] = []
    for segment in segments:
        try:
            found.append(place(path, info, segment))
        except audio.AudioError as error:
            found.append(error)
    silent = {n for n, at in enumerate(found) if isinstance(at, tuple)}

    def watch(first: int, block: np.ndarray) -> None:
        for n in list(silent):
            start, stop = found[n]  # type: ignore[misc]  # those in `silent` have a place
            # samples start .. stop of the file, counted within the block: perhaps none
            if block[max(0, start - first) : max(0, stop - first)].any():
                silent.remove(n)

    audio.check_audio(path, quick, watch)
    if not quick:
        for n in silent:
            found[n] = audio.EmptyAudio(path, f"all samples are zero ({segments[n]})")
    return found


def decode_ranges(
    path: str, segments: Sequence[Segment], mix_channels: bool = False
) -> Iterator[tuple[int, np.ndarray | audio.AudioError]]:
    """Segments of a file of any rate and format, which is decoded once.

    Of several channels the segment's is taken; where it says none, several are an error unless
    `mix_channels`, which takes their mean. In memory are a block of the file and those segments
    that it is in.

    Yields:
        Number of a segment and its samples, (S,) float32 at the file's rate; or what is wrong: as
        `place`, several channels, nothing but zeros, samples that are not finite numbers, or a file
        that ends or is damaged before.

    Raises:
        AudioError: the file cannot be opened.
    """
    info = audio.read_header(path)
    places: dict[int, tuple[int, int]] = {}
    for n, segment in enumerate(segments):
        try:
            if info.n_channels > 1 and segment.channel is None and not mix_channels:
                raise audio.ChannelError(path, f"one channel expected, found {info.n_channels}")
            guess = replace(info, n_samples=1 << 60) if _length_is_a_guess(info) else info
            places[n] = place(path, guess, segment)
        except audio.AudioError as error:
            yield n, error
    waiting = sorted(places, key=lambda n: places[n], reverse=True)
    begun: dict[int, list[np.ndarray]] = {}
    position, why = 0, ""
    try:
        with audio.AudioFile(path) as file:
            while (waiting or begun) and len(block := _read(file)):
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
    except soundfile.LibsndfileError as error:
        why = f"truncated or damaged: decoding stopped early ({error.error_string})"
    for n in [*begun, *waiting]:
        yield n, _at_the_end(path, info, segments[n], begun.get(n, []), position, why)


def _read(file: soundfile.SoundFile) -> np.ndarray:
    """The next block, (S, channels) float32."""
    return file.read(_BLOCK, dtype="float32", always_2d=True)


def _mono(block: np.ndarray, segment: Segment) -> np.ndarray:
    if segment.channel is not None:
        return block[:, segment.channel].copy()
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


def _at_the_end(
    path: str,
    info: audio.AudioInfo,
    segment: Segment,
    parts: Sequence[np.ndarray],
    end: int,
    why: str,
) -> np.ndarray | audio.AudioError:
    """A segment of a file that had no more than `end` samples, or was damaged there (`why`)."""
    if why or not _length_is_a_guess(info):
        why = why or f"the header promises {info.n_samples} samples, found {end}"
        return audio.TruncatedAudio(path, why)
    try:
        place(path, replace(info, n_samples=end), segment)
    except audio.AudioError as error:
        return error
    return _checked(path, segment, parts)
