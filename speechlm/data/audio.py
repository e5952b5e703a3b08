"""Reading, checking and resampling of audio files (libsndfile and soxr).

Lengths are in samples, rates in samples a second; waveforms are (S,) float32 in -1..1.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from speechlm.conventions import SAMPLE_RATE

SUFFIXES = (".mp3", ".flac", ".wav", ".ogg", ".opus")
"""How names of audio files that corpora have end, in small letters."""
_BLOCK = 1 << 20  # samples decoded at a time
_TAIL = 1600  # samples read at the end of a file in the quick check
_UNKNOWN_LENGTHS = {0, 0x7FFFFFFF, 0xFFFFFFFF}  # what streaming writers put into a WAV header


class AudioError(ValueError):
    """An audio file that cannot be used; says which file and why."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


class UnreadableAudio(AudioError):
    """The file is missing, is no audio, or is damaged inside."""


class TruncatedAudio(AudioError):
    """The file ends before the number of samples that its header promises."""


class EmptyAudio(AudioError):
    """There are no samples, or nothing but digital silence."""


class ChannelError(AudioError):
    """The file has more than one channel."""


class RateError(AudioError):
    """The file has another sampling rate than the one asked for."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says."""

    n_samples: int
    rate: int
    n_channels: int
    container: str
    """libsndfile's name of the file format found in the file itself: FLAC, WAV, MP3, ..."""


class AudioFile(soundfile.SoundFile):
    """A file that is never told to seek where libsndfile does not get to exactly that sample.

    This is so in Ogg and MP3 files. The package soundfile seeks after each read of a file that it
    thinks it can seek in, so that block after block would not be what the whole is.
    """

    def seekable(self) -> bool:
        """Whether the file gets to exactly the sample that it is told to seek."""
        return super().seekable() and not self.format.startswith(("OGG", "MP3", "MPEG"))


def read_header(path: str | os.PathLike[str]) -> AudioInfo:
    """Read the header only.

    Raises:
        UnreadableAudio: there is no such file, or it is no audio.
        EmptyAudio: no bytes or no samples.
        TruncatedAudio: a WAV file that is shorter than its header says.
    """
    if not os.path.isfile(path):
        raise UnreadableAudio(path, "no such file")
    if os.path.getsize(path) == 0:
        raise EmptyAudio(path, "the file has no bytes")
    try:
        info = soundfile.info(os.fspath(path), verbose=True)
    except soundfile.LibsndfileError as error:
        raise UnreadableAudio(path, f"not a readable audio file ({_reason(error)})") from None
    if info.format in ("WAV", "WAVEX"):
        _check_wav_length(path, info.extra_info)
    if info.frames == 0:
        raise EmptyAudio(path, "the file has no samples")
    return AudioInfo(info.frames, info.samplerate, info.channels, info.format)


def read_audio(
    path: str | os.PathLike[str], rate: int = SAMPLE_RATE, start: int = 0, stop: int | None = None
) -> np.ndarray:
    """Samples start..stop (the whole file by default) of a mono file: (S,) float32.

    Raises:
        RateError: another rate (format_data makes copies in the right one).
        ChannelError: more than one channel.
        UnreadableAudio: the file is missing, no audio, or damaged.
        TruncatedAudio: the file ends before the last of its samples.
        ValueError: a slice outside of the file.
    """
    try:
        with AudioFile(os.fspath(path)) as file:
            _expect_mono(path, file.channels)
            if file.samplerate != rate:
                raise RateError(
                    path, f"{rate} Hz expected, found {file.samplerate} Hz; run format_data first"
                )
            end = file.frames if stop is None else stop
            if not 0 <= start <= end <= file.frames:
                raise ValueError(
                    f"{path}: samples {start}..{end} asked for, it has 0..{file.frames}"
                )
            _go_to(file, start)
            waveform = file.read(end - start, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise _decoding_error(path, error) from None
    if len(waveform) != end - start:
        raise TruncatedAudio(
            path, f"the header promises {end - start} samples from {start}, found {len(waveform)}"
        )
    return waveform


def decode_any(path: str | os.PathLike[str], mix_channels: bool = False) -> tuple[np.ndarray, int]:
    """The whole of a file of any rate and format: ((S,) float32, rate).

    Several channels are an error unless `mix_channels`, which takes their mean.
    """
    info = read_header(path)
    if not mix_channels:
        _expect_mono(path, info.n_channels)
    try:
        waveform, rate = soundfile.read(os.fspath(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _decoding_error(path, error) from None
    _expect_length(path, info, len(waveform))
    mono = waveform[:, 0] if info.n_channels == 1 else waveform.mean(axis=1, dtype=np.float32)
    _expect_sound(path, bool(np.any(mono)))
    if not np.all(np.isfinite(mono)):
        raise UnreadableAudio(path, "some samples are not finite numbers")
    return mono, rate


def check_audio(
    path: str | os.PathLike[str],
    quick: bool = False,
    watch: Callable[[int, np.ndarray], None] | None = None,
) -> AudioInfo:
    """Make sure that a mono file decodes to as many samples as its header promises.

    The full check decodes everything (about 3,000 times faster than real time) and compares
    the sum of a 16-bit FLAC file with the one in its header, so that damage anywhere is found.
    The quick check reads the header and the last tenth of a second: it finds files that are
    cut off, not files that are damaged in the middle.

    `watch` is shown each block that the full check decodes: number of its first sample, (S,) int16.
    """
    info = read_header(path)
    _expect_mono(path, info.n_channels)
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            if quick:
                _check_tail(path, file)
            else:
                _check_all(path, file, info, watch)
    except soundfile.LibsndfileError as error:
        raise _decoding_error(path, error) from None
    return info


def resample(waveform: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """(S,) float32 at `rate` -> (about S * new_rate / rate,) float32 at `new_rate`."""
    if rate == new_rate:
        return waveform
    return soxr.resample(waveform, rate, new_rate, quality="HQ").astype(np.float32, copy=False)


def write_flac(path: str | os.PathLike[str], waveform: np.ndarray, rate: int) -> None:
    """Write (S,) samples as 16-bit mono FLAC; float samples beyond -1..1 are clipped."""
    soundfile.write(os.fspath(path), waveform, rate, format="FLAC", subtype="PCM_16")


def _go_to(file: AudioFile, start: int) -> None:
    """Move from the beginning to a sample."""
    if file.seekable():
        file.seek(start)
        return
    while start > 0:
        start -= max(1, len(file.read(min(start, _BLOCK), dtype="float32")))


def _check_tail(path: str | os.PathLike[str], file: soundfile.SoundFile) -> None:
    file.seek(max(0, file.frames - _TAIL))
    found = file.tell() + len(file.read(_TAIL, dtype="int16"))
    if found < file.frames and not _length_is_a_guess(file.format):
        raise TruncatedAudio(path, f"the header promises {file.frames} samples, found {found}")


def _check_all(
    path: str | os.PathLike[str],
    file: soundfile.SoundFile,
    info: AudioInfo,
    watch: Callable[[int, np.ndarray], None] | None,
) -> None:
    expected = _flac_md5(path) if file.subtype == "PCM_16" and file.format == "FLAC" else None
    md5 = hashlib.md5(usedforsecurity=False)
    n_samples, sound = 0, False
    while len(block := file.read(_BLOCK, dtype="int16")):
        if watch:
            watch(n_samples, block)
        n_samples += len(block)
        sound = sound or bool(block.any())
        if expected:
            md5.update(block.astype("<i2", copy=False).tobytes())
    _expect_length(path, info, n_samples)
    if expected and md5.digest() != expected:
        raise UnreadableAudio(path, "damaged: the decoded samples differ from the FLAC checksum")
    _expect_sound(path, sound)


def _flac_md5(path: str | os.PathLike[str]) -> bytes | None:
    """The sum of the decoded samples in a FLAC header, if the writer has left one.

    Source: RFC 9639 section 8.2 (streaminfo is always the first metadata block).
    """
    with Path(path).open("rb") as file:
        head = file.read(42)
    if head[:4] != b"fLaC" or head[4] & 0x7F != 0:
        return None
    return head[26:42] if any(head[26:42]) else None


def _check_wav_length(path: str | os.PathLike[str], log: str) -> None:
    """libsndfile corrects a wrong data size by itself, and only its log says so."""
    found = re.search(r"^data : (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if found:
        promised, there = int(found[1]), int(found[2])
        if promised > there and promised not in _UNKNOWN_LENGTHS:
            raise TruncatedAudio(path, f"the header promises {promised} bytes, found {there}")


def _length_is_a_guess(container: str) -> bool:
    """MP3 has no sample count: libsndfile estimates it from the file size."""
    return container.startswith(("MP3", "MPEG"))


def _expect_length(path: str | os.PathLike[str], info: AudioInfo, n_samples: int) -> None:
    if n_samples == 0:
        raise EmptyAudio(path, "no samples can be decoded")
    if n_samples != info.n_samples and not _length_is_a_guess(info.container):
        raise TruncatedAudio(
            path, f"the header promises {info.n_samples} samples, found {n_samples}"
        )


def _expect_mono(path: str | os.PathLike[str], n_channels: int) -> None:
    if n_channels != 1:
        raise ChannelError(path, f"one channel expected, found {n_channels}")


def _expect_sound(path: str | os.PathLike[str], sound: bool) -> None:
    if not sound:
        raise EmptyAudio(path, "all samples are zero")


def _decoding_error(path: str | os.PathLike[str], error: Exception) -> AudioError:
    """Whether a file that opens but does not decode is cut off or damaged cannot be told."""
    if not os.path.isfile(path):
        return UnreadableAudio(path, "no such file")
    return TruncatedAudio(path, f"truncated or damaged: decoding stopped early ({_reason(error)})")


def _reason(error: Exception) -> str:
    """libsndfile's words without the file name; damaged MP3 files, it says, do not exist."""
    reason = getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(".")
    return "no known format" if reason.startswith("File does not exist") else reason
