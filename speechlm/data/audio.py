"""Reading, checking and resampling of audio files (libsndfile and soxr).

Lengths are in samples, rates in samples a second; waveforms are (S,) float32 in -1..1. What a
header says of the length is not believed: see `audio_parts`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.atomic import library_writes
from speechlm.data.audio_blocks import BLOCK, FULL, decode, ends_as_promised, floats, joined
from speechlm.data.audio_contents import open_contents
from speechlm.data.audio_parts import (
    UNKNOWN,
    ChannelError,
    Contents,
    EmptyAudio,
    RateError,
    StraightFile,
    UnreadableAudio,
    reason_of,
)
from speechlm.data.audio_parts import AudioError as AudioError  # known by this module's name, too
from speechlm.data.audio_parts import TruncatedAudio as TruncatedAudio

SUFFIXES = (".mp3", ".flac", ".wav", ".ogg", ".opus")
"""How names of audio files that corpora have end, in small letters."""
_OTHERS = "m4a mp4 aac wma amr 3gp webm oga sph aif aiff au caf"
OTHER_SUFFIXES = tuple(f".{ending}" for ending in _OTHERS.split())
"""Endings of other audio files, which are to be converted or renamed."""
_LEAST_RATE = 1000  # Hz; of a header that says 1 Hz, 100 kB are a day of audio at 16 kHz
_MOST_SAMPLES = 1 << 13  # for a byte: of silence FLAC packs 65,535 into a few
NOT_FLAC = (*(suffix for suffix in SUFFIXES if suffix != ".flac"), *OTHER_SUFFIXES)
"""Endings of audio files that are no part of corpora whose audio is FLAC."""


@dataclass(frozen=True)
class AudioInfo:
    """What is known of a file."""

    n_samples: int | None
    """None where only decoding all of it tells, as in FLAC whose writer has left no length."""
    rate: int
    n_channels: int
    container: str
    """libsndfile's name of the file format found in the file itself: FLAC, WAV, MP3, ..."""
    plain: bool
    """Whether a program that believes the header gets the same samples."""
    note: str = ""
    """What the header says wrongly."""


class Decoded(NamedTuple):
    """All of a file."""

    waveform: np.ndarray
    """(S,) float32."""
    rate: int
    note: str
    """What the header says wrongly."""


def read_header(path: str | os.PathLike[str]) -> AudioInfo:
    """Say what can be known of a file without decoding it.

    Raises:
        UnreadableAudio: there is no such file, or it is no audio.
        EmptyAudio: no bytes or no samples.
        TruncatedAudio: the file is shorter than its header says.
    """
    return _info(path, open_contents(path, only_first=True))


def read_audio(
    path: str | os.PathLike[str], rate: int = SAMPLE_RATE, start: int = 0, stop: int | None = None
) -> np.ndarray:
    """Samples start..stop (the whole file by default) of a mono file: (S,) float32.

    Of FLAC, WAV and its like only the range is read; other formats are decoded as a whole. A range
    of a FLAC file trusts the header, which `check_audio` compares with the file.

    Raises:
        RateError: another rate (format_data makes copies in the right one).
        ChannelError: more than one channel.
        UnreadableAudio: the file is missing, no audio, or damaged.
        TruncatedAudio: the file ends before the last of its samples.
        EmptyAudio: no bytes or no samples.
        ValueError: a slice outside of the file.
    """
    contents = open_contents(path, only_first=stop is not None)
    if (found := _range(path, contents, rate, start, stop)) is not None:
        return found
    contents = contents if stop is None else open_contents(path)
    info = _info(path, contents)
    _expect(path, info.n_channels, info.rate, rate)
    n_samples, blocks = 0, []
    for block in decode(path, contents):
        end = len(block) if stop is None else max(0, stop - n_samples)
        # samples start .. stop of the file, counted within the block: perhaps none
        blocks.append(floats(block[max(0, start - n_samples) : end, 0]))
        n_samples += len(block)
    _expect_range(path, start, n_samples if stop is None else stop, n_samples)
    return joined(blocks)


def read_blocks(path: str | os.PathLike[str], size: int = BLOCK) -> Iterator[np.ndarray]:
    """All of a file of any rate, block by block: (S, C) float32, C channels.

    Args:
        path: the file.
        size: samples of a block; a stream within the file ends with a shorter one.

    Raises:
        UnreadableAudio: the file is missing, no audio, or damaged; this may be seen, and raised,
            behind the last block.
        TruncatedAudio: the file ends before the last of its samples.
        EmptyAudio: no bytes or no samples.
    """
    contents = open_contents(path)
    _info(path, contents)
    yield from map(floats, decode(path, contents, size))


def decode_any(path: str | os.PathLike[str], mix_channels: bool = False) -> tuple[np.ndarray, int]:
    """The whole of a file of any rate and format: ((S,) float32, rate).

    Several channels are an error unless `mix_channels`, which takes their mean.
    """
    decoded = decode_whole(path, mix_channels)
    return decoded.waveform, decoded.rate


def decode_whole(path: str | os.PathLike[str], mix_channels: bool = False) -> Decoded:
    """As `decode_any`, and what was wrong in the header.

    Raises:
        ChannelError: several channels, which are not to be mixed.
        UnreadableAudio: the file is missing, no audio, or damaged; some samples are no numbers.
        TruncatedAudio: the file ends before the last of its samples.
        EmptyAudio: no samples, or all of them, after mixing, are zero.
    """
    contents = open_contents(path)
    info = _info(path, contents)
    if not mix_channels:
        _expect_mono(path, info.n_channels)
    is_silent = True
    mono: list[np.ndarray] = []
    for block in map(floats, decode(path, contents)):
        _expect_finite(path, block)
        is_silent = is_silent and not block.any()
        with np.errstate(over="ignore"):  # `expect_sound` sees what becomes infinite
            mono.append(block.mean(axis=1) if info.n_channels > 1 else block[:, 0])
    waveform = joined(mono)
    expect_sound(path, waveform, "" if is_silent else " once the channels are mixed")
    return Decoded(waveform, info.rate, _note(contents, info.n_samples, len(waveform)))


def check_audio(
    path: str | os.PathLike[str],
    quick: bool = False,
    watch: Callable[[int, np.ndarray], None] | None = None,
) -> AudioInfo:
    """Make sure that a mono file decodes to as many samples as its header promises.

    The full check decodes everything (about 3,000 times faster than real time) and compares
    the sum of a 16-bit FLAC file with the one in its header, so that damage anywhere is found.
    The quick check decodes the last tenth of a second of a FLAC file: it finds files that are cut
    off or go on, not files that are damaged in the middle or silent. Where that does not tell the
    length (none in the header, another than in the header, other formats) the full check is made.

    Args:
        path: the file.
        quick: make the quick check, where it is enough.
        watch: is shown each block that the full check decodes: the number of its first sample, and
            its samples (S,), int16 of 16-bit FLAC, else float32.

    Returns:
        The true number of samples; `plain` and `note` tell whether the header has another.
    """
    contents = open_contents(path)
    info = _info(path, contents)
    _expect_mono(path, info.n_channels)
    if quick and info.container == "FLAC" and _has_true_length(contents):
        return info
    n_samples, sound = 0, False
    for block in decode(path, contents):
        if watch:
            watch(n_samples, block[:, 0])
        n_samples += len(block)
        sound = sound or bool(block.any())
        _expect_finite(path, block)
    if n_samples == 0:
        raise EmptyAudio(path, "no samples can be decoded")
    if not sound:
        raise EmptyAudio(path, "all samples are zero")
    return _counted(contents, info, n_samples)


def measure(path: str | os.PathLike[str]) -> AudioInfo:
    """Say what is known of a file, its true length in any case.

    Only FLAC that does not end where its header says has to be decoded for that.

    Raises:
        UnreadableAudio: there is no such file, it is no audio, or it is found to be damaged.
        TruncatedAudio: the file ends before the last of its samples.
        EmptyAudio: no bytes or no samples.
    """
    contents = open_contents(path)
    info = _info(path, contents)
    if info.container != "FLAC" or _has_true_length(contents):
        return info
    return _counted(contents, info, sum(map(len, decode(path, contents))))


def resample(waveform: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """(S,) float32 at `rate` -> (about S * new_rate / rate,) float32 at `new_rate`."""
    if rate == new_rate:
        return waveform
    return soxr.resample(waveform, rate, new_rate, quality="HQ").astype(np.float32, copy=False)


def to_16_bits(waveform: np.ndarray) -> tuple[np.ndarray, int]:
    """(S,) float32 -> (S,) int16 and how many samples beyond -1..1 were clipped."""
    n_clipped = int(np.count_nonzero(np.abs(waveform) > 1))
    levels = np.rint(waveform.clip(-1, 1) * FULL)
    return np.minimum(levels, FULL - 1).astype(np.int16), n_clipped


def write_flac(
    path: str | os.PathLike[str], waveform: np.ndarray, rate: int, comment: str = ""
) -> None:
    """Write (S,) samples, float32 or int16, as 16-bit mono FLAC that reads back as many.

    Float samples beyond -1..1 are clipped.

    Raises:
        UnreadableAudio: some samples are no finite numbers, or what was written is not whole.
    """
    _expect_finite(path, waveform)
    samples = waveform if waveform.dtype == np.int16 else to_16_bits(waveform)[0]
    with (
        library_writes(path, soundfile.SoundFileError),
        soundfile.SoundFile(os.fspath(path), "w", rate, 1, "PCM_16", format="FLAC") as file,
    ):
        if comment:
            file.comment = comment
        file.write(samples)
    if len(samples) and (found := read_header(path).n_samples) != len(samples):
        raise UnreadableAudio(path, f"{len(samples)} samples written, {found} read; disk full?")


def read_comment(path: str | os.PathLike[str]) -> str:
    """What was given to `write_flac` as a comment."""
    with soundfile.SoundFile(os.fspath(path)) as file:
        return file.comment


def expect_sound(path: str | os.PathLike[str], waveform: np.ndarray, when: str = "") -> None:
    """Make sure that (S,) samples are something to hear.

    Raises:
        EmptyAudio: no samples, or all of them are zero; `when` goes into the sentence.
        UnreadableAudio: some are no finite numbers.
    """
    if len(waveform) == 0:
        raise EmptyAudio(path, "no samples" + (when or " can be decoded"))
    if not waveform.any():
        raise EmptyAudio(path, "all samples are zero" + when)
    _expect_finite(path, waveform)


def _info(path: str | os.PathLike[str], contents: Contents) -> AudioInfo:
    """What is known before decoding; all parts have one rate and number of channels."""
    found: list[AudioInfo] = []
    for part in contents.parts:
        try:
            with part.open() as file:
                n, kind = part.promised(file), (file.samplerate, file.channels, file.format)
                if n is not None and n + 1 < file.frames < UNKNOWN:  # some count a byte of padding
                    reason = f"its header says {n} samples, and by other values {file.frames}"
                    raise UnreadableAudio(path, reason)
        except soundfile.LibsndfileError as error:
            reason = f"not a readable audio file ({reason_of(error)})"
            raise UnreadableAudio(path, reason) from None
        if kind[0] < _LEAST_RATE:
            raise UnreadableAudio(
                path, f"no speech is recorded at {kind[0]} Hz; is its header right?"
            )
        found.append(AudioInfo(n, *kind, contents.plain, contents.note))
    first = found[0]
    for other in found[1:]:
        if (other.rate, other.n_channels) != (first.rate, first.n_channels):
            raise UnreadableAudio(
                path,
                f"it changes from {first.rate} Hz, {first.n_channels} channel(s) to {other.rate}"
                f" Hz, {other.n_channels}, in the middle; split it there",
            )
    lengths = [info.n_samples for info in found if info.n_samples is not None]
    if lengths == [0] * len(found):
        raise EmptyAudio(path, "the file has no samples")
    return replace(first, n_samples=sum(lengths) if len(lengths) == len(found) else None)


def _range(
    path: str | os.PathLike[str], contents: Contents, rate: int, start: int, stop: int | None
) -> np.ndarray | None:
    """Samples start..stop, None where nothing but decoding the whole file is sure to find them.

    Of a whole file one sample more than promised is asked for, which must not be there. Memory is
    not taken for more samples than there can be.
    """
    part = contents.parts[0]
    n_samples = part.n_samples
    end = n_samples if stop is None else stop
    if len(contents.parts) > 1 or not n_samples or not end or not 0 <= start <= end <= n_samples:
        return None
    if end - start > _MOST_SAMPLES * os.path.getsize(path):
        return None
    by_name = contents.plain and stop is not None
    try:
        with StraightFile(os.fspath(path)) if by_name else part.open() as file:
            _expect(path, file.channels, file.samplerate, rate)
            if start:
                file.seek(start)
            waveform = file.read(end - start + (stop is None), dtype="float32")
    except soundfile.LibsndfileError:
        return None
    return waveform if len(waveform) == end - start else None


def _has_true_length(contents: Contents) -> bool:
    """Whether FLAC is one stream that ends where its header says."""
    return contents.plain and ends_as_promised(contents.parts[0])


def _counted(contents: Contents, info: AudioInfo, n_samples: int) -> AudioInfo:
    """What is known once the samples have been counted."""
    note = _note(contents, info.n_samples, n_samples)
    return replace(info, n_samples=n_samples, plain=contents.plain and not note, note=note)


def _note(contents: Contents, promised: int | None, n_samples: int) -> str:
    """What the header says wrongly, once the samples have been counted."""
    if promised in (None, n_samples):
        return contents.note
    count = f"its header promises {promised} samples, found {n_samples}"
    return f"{contents.note}; {count}" if contents.note else count


def _expect(path: str | os.PathLike[str], n_channels: int, found: int, rate: int) -> None:
    _expect_mono(path, n_channels)
    if found != rate:
        raise RateError(path, f"{rate} Hz expected, found {found} Hz; run format_data first")


def _expect_range(path: str | os.PathLike[str], start: int, stop: int, n_samples: int) -> None:
    if not 0 <= start <= stop <= n_samples:
        raise ValueError(f"{path}: samples {start}..{stop} asked for, it has 0..{n_samples}")


def _expect_mono(path: str | os.PathLike[str], n_channels: int) -> None:
    if n_channels != 1:
        raise ChannelError(path, f"one channel expected, found {n_channels}")


def _expect_finite(path: str | os.PathLike[str], samples: np.ndarray) -> None:
    if not np.all(np.isfinite(samples)):
        raise UnreadableAudio(path, "some samples are not finite numbers")
