"""MPEG audio (MP3): counting its frames.

The format has no length. An encoder may write one into an extra first frame (Xing, Info or VBRI).
A stream that was cut, joined or recorded from a network lacks that frame, or it is wrong; without
it libsndfile guesses from the size of the first frame. Here the frames are counted: each says in
its header of four bytes how long it is.

    | tags | Xing frame | frame | frame | ... | tags | Xing frame | frame | ... | tags |
           |<------------ stream ------------>|      |<--------- stream --------->|
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field

import soundfile

from speechlm.data.audio_parts import (
    Bytes,
    Contents,
    EmptyAudio,
    Part,
    TruncatedAudio,
    UnreadableAudio,
    reason_of,
)
from speechlm.data.audio_tags import Data, between_length

_V1_RATES = (44100, 48000, 32000)  # Hz; halved in version 2, and again in version 2.5
_BIT_RATES = {  # kbit/s, of (is version 1, layer), for the indices from 1
    (True, 1): range(32, 449, 32),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_ROOM = 64  # bytes that a frame must have to hold a Xing header
_UNKNOWN = 0x7FFF0000  # numbers from here on stand for lengths that were not known
_MOST_ADDED = 3000  # samples that encoders add before or behind: less than three frames


@dataclass(frozen=True)
class Frame:
    """What the header of a frame says."""

    size: int
    """Bytes."""
    n_samples: int
    layer: int
    rate: int
    n_channels: int
    is_version_1: bool

    @property
    def side_information(self) -> int:
        """Bytes between header and data (layer 3), behind which a Xing header stands."""
        if self.is_version_1:
            return 17 if self.n_channels == 1 else 32
        return 9 if self.n_channels == 1 else 17


@dataclass
class _Stream:
    """Frames that belong together."""

    first: Frame
    header: bytes = b""
    """The frame with the Xing or VBRI header, if there is one."""
    pieces: list[tuple[int, int]] = field(default_factory=list)
    """Places of frames that follow one another without a gap."""
    n_frames: int = 0
    n_bytes: int = 0

    def add(self, start: int, frame: Frame) -> None:
        end = start + frame.size
        if self.pieces and self.pieces[-1][1] == start:
            self.pieces[-1] = (self.pieces[-1][0], end)
        else:
            self.pieces.append((start, end))
        self.n_frames += 1
        self.n_bytes += frame.size


@functools.lru_cache(maxsize=4096)
def parse_frame(head: bytes) -> Frame | None:
    """A frame from its four bytes; None if they are no header, or of a free format.

    Source: ISO/IEC 11172-3, 2.4.1.3 and 2.4.2.3; 13818-3, 2.4.2.3; 2.5 as encoders write it.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bit_rate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return None
    is_version_1 = version == 3
    hertz = _V1_RATES[rate] >> (0 if is_version_1 else 1 if version == 2 else 2)
    bits = 1000 * _BIT_RATES[is_version_1, layer][bit_rate - 1]
    padding = head[2] >> 1 & 1
    n_samples = 384 if layer == 1 else 576 if layer == 3 and not is_version_1 else 1152
    # bytes = samples / 8 x bit rate / sampling rate, in slots of 4 bytes in layer 1, of 1 in others
    slot = 4 if layer == 1 else 1
    size = (n_samples // 8 // slot * bits // hertz + padding) * slot
    return Frame(size, n_samples, layer, hertz, 1 if head[3] >> 6 == 3 else 2, is_version_1)


def mpeg_contents(path: str | os.PathLike[str], data: Data) -> Contents:
    """The streams of an MPEG file.

    Raises:
        EmptyAudio: there are no frames.
        UnreadableAudio: something else stands between the frames, or the format changes.
        TruncatedAudio: frames are cut off or missing.
    """
    streams = _streams(path, data)
    view, parts, notes = memoryview(data), [], []
    for stream in streams:
        promised, n_bytes = _promise(stream)
        found = stream.n_bytes + len(stream.header)
        is_short = promised > stream.n_frames and n_bytes not in (found, stream.n_bytes)
        if is_short or not promised and n_bytes > len(data):
            raise TruncatedAudio(
                path,
                f"truncated: its header promises {promised or '?'} MPEG frames and"
                f" {n_bytes or '?'} bytes, found {stream.n_frames} and {found}",
            )
        if promised not in (0, stream.n_frames):
            notes.append(f"its header promises {promised} MPEG frames, found {stream.n_frames}")
        pieces: list[Bytes] = [view[a:b] for a, b in stream.pieces]
        parts.append(_part(path, stream, pieces))
    if len(parts) > 1:
        notes.append(f"{len(parts)} streams one after the other")
    return Contents(parts, not notes and bool(_promise(streams[0])[0]), "; ".join(notes))


def _streams(path: str | os.PathLike[str], data: Data) -> list[_Stream]:
    streams: list[_Stream] = []
    at, end = 0, len(data)
    while at < end:
        frame = parse_frame(data[at : at + 4])
        if frame is None:
            skipped = between_length(path, data, at)
            if not skipped:
                raise UnreadableAudio(path, _no_frame(data, at, end))
            at += skipped
        elif at + frame.size > end:
            raise TruncatedAudio(path, "truncated: cut off inside of its last MPEG frame")
        else:
            _add(path, streams, data, at, frame)
            at += frame.size
    streams = [stream for stream in streams if stream.n_frames or _promise(stream)[0]]
    if not streams:
        raise EmptyAudio(path, "the file has no samples")
    return streams


def _add(
    path: str | os.PathLike[str], streams: list[_Stream], data: Data, at: int, frame: Frame
) -> None:
    """Put a frame where it belongs: a Xing header begins a new stream."""
    head = data[at : at + _ROOM]
    if _xing_at(head, frame) or frame.layer == 3 and _is_vbri(head):
        streams.append(_Stream(frame, data[at : at + frame.size]))
        return
    if not streams:
        streams.append(_Stream(frame))
    first = streams[-1].first
    if (first.rate, first.n_channels, first.layer) != (frame.rate, frame.n_channels, frame.layer):
        raise UnreadableAudio(
            path,
            f"at byte {at} it changes from layer {first.layer}, {first.rate} Hz,"
            f" {first.n_channels} channel(s) to layer {frame.layer}, {frame.rate} Hz,"
            f" {frame.n_channels}; split it there",
        )
    streams[-1].add(at, frame)


def _xing_at(head: bytes, frame: Frame) -> int:
    """Where a frame has a Xing header, 0 if nowhere; some write it behind a checksum of 2 bytes."""
    at = 4 + frame.side_information
    for place in (at, at + 2):
        if frame.layer == 3 and head[place : place + 4] in (b"Xing", b"Info"):
            return place
    return 0


def _is_vbri(header: bytes) -> bool:
    return header[36:40] == b"VBRI"


def _promise(stream: _Stream) -> tuple[int, int]:
    """Frames and bytes that a stream's header promises, 0 where it says nothing.

    The bytes are those of all frames, mostly with the header's. Some writers count the header among
    the frames; then the bytes tell that nothing is missing.
    """
    header = stream.header
    if _is_vbri(header):
        return _known(header[50:54]), _known(header[46:50])
    if not (at := _xing_at(header, stream.first)):
        return 0, 0
    # "Xing", flags: 1 frames are told, 2 bytes are told; then four bytes for each that is
    flags = int.from_bytes(header[at + 4 : at + 8], "big")
    told = [_known(header[at + 8 + 4 * i : at + 12 + 4 * i]) for i in range(2)]
    n_frames = told.pop(0) if flags & 1 else 0
    return n_frames, told[0] if flags & 2 else 0


def _known(number: bytes) -> int:
    """A number of four bytes, 0 if it is one of those that are written for what is not known."""
    value = int.from_bytes(number, "big")
    return value if value < _UNKNOWN else 0


def _part(path: str | os.PathLike[str], stream: _Stream, pieces: list[Bytes]) -> Part:
    """The stream with a header that is true; layers 1 and 2 have none.

    Raises:
        UnreadableAudio: libsndfile would not read all of it.
    """
    if stream.first.layer == 3:
        pieces = [_true_header(stream, bytes(pieces[0][:4])), *pieces]
    part = Part(tuple(pieces))
    n_samples = stream.n_frames * stream.first.n_samples
    try:
        with part.open() as file:
            missing = n_samples - file.frames
    except soundfile.LibsndfileError as error:
        raise UnreadableAudio(path, f"not a readable audio file ({reason_of(error)})") from None
    if missing > (2 * _MOST_ADDED if stream.first.layer == 3 else 0):
        raise UnreadableAudio(
            path,
            f"MPEG of layer {stream.first.layer}, of which libsndfile reads all but {missing} of"
            f" {n_samples} samples: convert it to FLAC",
        )
    return part


def _true_header(stream: _Stream, head: bytes) -> bytes:
    """A frame with a Xing header that tells the number of frames.

    Of the stream's own header, if it has one, it keeps how many samples the encoder has added.
    """
    header, start = stream.header, 4 + stream.first.side_information
    at = _xing_at(header, stream.first)
    if not at or not header[at + 7] & 1 or _has_odd_delays(header, at):
        header, at = _xing_header(stream.first, head), start
    # no checksum, nothing where a frame of sound has its side information
    first = bytes([header[0], header[1] | 1, *header[2:4]]).ljust(start, b"\0")
    # "Xing", flags, the number of frames, that of bytes if the flags say so
    counts = stream.n_frames.to_bytes(4, "big")
    if header[at + 7] & 2:
        counts += (len(header) + stream.n_bytes).to_bytes(4, "big")
    rest = header[at + 8 + len(counts) :]
    return (first + header[at : at + 8] + counts + rest).ljust(len(header), b"\0")


def _has_odd_delays(header: bytes, at: int) -> bool:
    """Whether a decoder is told to take more away than encoders add.

    Behind flags, numbers of frames and bytes, a table and a quality, each if there, stand a name
    and other things (21 bytes), then 12 bits for the samples added before and 12 for those behind.
    """
    flags = header[at + 7]
    at += 8 + sum(size for bit, size in enumerate((4, 4, 100, 4)) if flags >> bit & 1) + 21
    both = int.from_bytes(header[at : at + 3], "big")
    return max(both >> 12, both & 0xFFF) > _MOST_ADDED


def _xing_header(frame: Frame, head: bytes) -> bytes:
    """A frame of silence with room for the number of frames, and nothing else."""
    at = 4 + frame.side_information
    # without a checksum, and of the lowest bit rate that has room, in the first frame's format
    for bit_rate in range(1, 15):
        start = bytes([head[0], head[1] | 1, bit_rate << 4 | head[2] & 0x0C, head[3]])
        made = parse_frame(start)
        if made and made.size >= _ROOM:
            break
    assert made
    return (start.ljust(at, b"\0") + b"Xing" + bytes([0, 0, 0, 1])).ljust(made.size, b"\0")


def _no_frame(data: Data, at: int, end: int) -> str:
    if data[at] == 0xFF and data[at + 1 : at + 2] >= b"\xe0":
        why = "an MPEG frame of free format or a damaged one, whose length cannot be told"
    else:
        why = f"no MPEG frame, at {end - at} bytes before the end"
    return f"damaged, or joined with something else: at byte {at} stands {why}"
