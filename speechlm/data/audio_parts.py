"""What of an audio file is audio, and how libsndfile can be made to read all of it.

libsndfile believes headers: it stops where they say that a file ends, though more follows (a length
that a program could not write, a second stream behind the first). The modules of the formats
(`mpeg_frames`, `ogg_pages`, `flac_streams`, `pcm_chunks`) look at what is there and make parts of
it, each of which is read as a file of its own whose header is true.
"""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

import soundfile

Bytes = bytes | memoryview
UNKNOWN = 1 << 62
"""Numbers of samples from here on are what libsndfile says where it does not know."""


class AudioError(ValueError):
    """An audio file that cannot be used; says which file and why."""

    kind = "unreadable audio"
    """What reports call it."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


class UnreadableAudio(AudioError):
    """The file is missing, is no audio, or is damaged inside."""


class TruncatedAudio(AudioError):
    """The file ends before the number of samples that its header promises."""

    kind = "truncated audio"


class EmptyAudio(AudioError):
    """There are no samples, or nothing but digital silence."""

    kind = "empty audio"


class ChannelError(AudioError):
    """The file has more than one channel."""

    kind = "more than one channel"


class RateError(AudioError):
    """The file has another sampling rate than the one asked for."""


@dataclass(frozen=True)
class Part:
    """A stream that libsndfile reads whole."""

    pieces: tuple[Bytes, ...]
    """Its bytes, one piece after the other."""
    n_samples: int | None = None
    """Samples that it must have; None where only libsndfile, or decoding it, tells."""
    md5: bytes | None = None
    """Sum of its decoded 16-bit samples, if the writer has left one."""

    def open(self) -> soundfile.SoundFile:
        """The stream as a sound file.

        Raises:
            soundfile.LibsndfileError: it is no audio.
        """
        return StraightFile(_Pieces(self.pieces))

    def promised(self, file: soundfile.SoundFile) -> int | None:
        """Samples that the opened stream must have; None where only decoding tells."""
        if self.n_samples is not None:
            return self.n_samples
        return file.frames if file.frames < UNKNOWN else None


@dataclass(frozen=True)
class Contents:
    """What a file consists of."""

    parts: list[Part]
    plain: bool = True
    """Whether a program that believes the header gets the same samples."""
    note: str = ""
    """What the header says wrongly."""


def reason_of(error: Exception) -> str:
    """libsndfile's words without the file name; damaged MP3 files, it says, do not exist."""
    reason = getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(".")
    return "no known format" if reason.startswith("File does not exist") else reason


class StraightFile(soundfile.SoundFile):
    """A sound file that is read straight on.

    `soundfile` seeks after each read of what it takes for seekable. At the end of FLAC of unknown
    length that is an error, and in Ogg and MP3 libsndfile does not get to exactly that sample.
    """

    def seekable(self) -> bool:
        """Whether `soundfile` may seek by itself."""
        return False


class _Pieces:
    """Bytes in several places of memory as one file to read."""

    def __init__(self, pieces: Sequence[Bytes]) -> None:
        self._pieces = pieces
        self._starts = [0, *itertools.accumulate(map(len, pieces))]
        self._at = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._starts[-1])[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        buffer = bytearray(self._starts[-1] - self._at if size < 0 else size)
        return bytes(buffer[: self.readinto(buffer)])

    def readinto(self, buffer: bytearray) -> int:
        n = 0
        while n < len(buffer) and self._at < self._starts[-1]:
            number = bisect.bisect_right(self._starts, self._at) - 1
            first = self._at - self._starts[number]
            piece = self._pieces[number][first : first + len(buffer) - n]
            buffer[n : n + len(piece)] = piece
            n += len(piece)
            self._at += len(piece)
        return n
