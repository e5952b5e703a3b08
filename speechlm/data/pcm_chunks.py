"""WAV and its like (RF64, Wave64, AIFF, CAF, AU, NIST SPHERE): where the samples begin and end.

All of them are a header, samples of a fixed size, and perhaps chunks behind. Who writes to a pipe
does not know the length when the header is written and leaves a placeholder; who was killed
leaves 0.

    | header | chunk | ... | name, size | samples ........ | chunk | chunk |
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from speechlm.data.audio_parts import Contents, Part, TruncatedAudio, UnreadableAudio
from speechlm.data.audio_tags import Data, before_tags, padding_length

_LARGEST = (1 << 31, 1 << 32, 1 << 63, 1 << 64)
_NEAR = 1 << 16  # bytes that a placeholder may be below the largest size, for the headers' sake
_FAR = 1 << 20  # bytes in which chunks behind samples of unknown length are looked for
_BEHIND = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"fact", b"iXML", b"_PMX")
_NAME = re.compile(rb"[A-Za-z0-9 _]{4}")
_W64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # of a sample, by encoding


@dataclass(frozen=True)
class _Layout:
    """How a family of formats writes its chunks: a name, a size, contents, padding."""

    first: int
    """Where the first chunk is."""
    size: str
    """How a size is written, for `struct`."""
    samples: bytes = b"data"
    """How the name of the chunk with the samples begins."""
    before: int = 0
    """Bytes of that chunk before the samples."""
    align: int = 2
    name: int = 4
    """Bytes of a name."""
    counts_head: bool = False
    """Whether the size counts name and size, too."""

    @property
    def head(self) -> int:
        """Bytes of name and size."""
        return self.name + struct.calcsize(self.size)


@dataclass(frozen=True)
class _Samples:
    """Where samples are."""

    start: int
    promised: int | None
    """Bytes; None where the header says that it does not know."""
    block: int | None
    """Bytes of a sample of all channels; None where that is no whole number."""
    size_at: int | None = None
    """Where the size is written, from the beginning of the header."""
    size: str = ""
    """How the size is written, for `struct`."""
    counted: int = 0
    """What the size counts besides the samples, in bytes."""


def is_pcm(head: bytes) -> bool:
    """Whether a file that begins like this (16 bytes) is one of these formats."""
    return _layout(head) is not None or head[:4] in (b".snd", b"dns.") or head[:7] == b"NIST_1A"


def pcm_contents(path: str | os.PathLike[str], data: Data, start: int) -> Contents:
    """The samples of a file whose header begins at a place.

    Raises:
        TruncatedAudio: fewer bytes are there than the header promises.
        UnreadableAudio: there is no header, or behind the samples stands what is no chunk.
    """
    layout = _layout(data[start : start + 16])
    try:
        if layout:
            samples = _chunk_samples(path, data, start, layout)
        elif data[start : start + 4] in (b".snd", b"dns."):
            samples = _au_samples(data, start)
        else:
            samples = _nist_samples(path, data, start)
    except struct.error:
        raise TruncatedAudio(path, "truncated: cut off inside of its header") from None
    n_bytes = _n_bytes(path, data, start, samples, layout)
    header = bytearray(data[start : samples.start])
    if samples.promised != n_bytes and samples.size_at is not None:
        size = min(n_bytes + samples.counted, 256 ** struct.calcsize(samples.size) - 1)
        struct.pack_into(samples.size, header, samples.size_at, size)
    view = memoryview(data)[samples.start : samples.start + n_bytes]
    n_samples = n_bytes // samples.block if samples.block else None
    return Contents([Part((bytes(header), view), n_samples)], samples.promised == n_bytes)


def _layout(head: bytes) -> _Layout | None:
    family, kind = head[:4], head[8:12]
    if family in (b"RIFF", b"RF64") and kind == b"WAVE":
        return _Layout(12, "<I")
    if family == b"RIFX" and kind == b"WAVE":
        return _Layout(12, ">I")
    if family == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return _Layout(12, ">I", b"SSND", before=8)
    if head[:16] == _W64_RIFF:
        return _Layout(40, "<Q", align=8, name=16, counts_head=True)
    if family == b"caff":
        return _Layout(8, ">Q", before=4, align=1)
    return None


def _chunks(data: Data, layout: _Layout, start: int, at: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, place of the contents, their bytes as told) of chunks, from one on.

    A chunk of an odd size is followed by padding, which some writers leave out.
    """
    size = 0
    while at + layout.head <= len(data) and size >= 0:
        padded = at + (start - at) % layout.align
        at = padded if _NAME.match(data[padded : padded + 4]) else at
        name = data[at : at + 4]
        if not _NAME.match(name):
            return
        (size,) = struct.unpack(layout.size, data[at + layout.name : at + layout.head])
        size -= layout.head if layout.counts_head else 0
        at += layout.head
        yield name, at, size
        at += size


def _chunk_samples(
    path: str | os.PathLike[str], data: Data, start: int, layout: _Layout
) -> _Samples:
    block, long_at = None, 0
    for name, at, size in _chunks(data, layout, start, start + layout.first):
        if name == b"ds64":  # sizes of RF64 in 64 bits: of all, of the samples, ...
            long_at = at + 8
        elif name == b"fmt " and size >= 16:
            block = _wav_block(data[at : at + 16], layout.size[0])
        elif name == b"COMM":  # channels, number of samples, bits, rate in ten bytes, compression
            channels, _, bits = struct.unpack(">hIh", data[at : at + 8])
            is_plain = size < 22 or data[at + 18 : at + 22] in (b"NONE", b"sowt", b"twos")
            block = channels * -(-bits // 8) if is_plain else None
        elif name == b"desc":  # rate, format, flags, bytes and samples of a packet
            packet, n_samples = struct.unpack(">II", data[at + 16 : at + 24])
            block = packet if n_samples == 1 else None
        elif name == layout.samples:
            begin, size_at = at + layout.before, at - struct.calcsize(layout.size) - start
            if long_at and data[start : start + 4] == b"RF64":
                (size,) = struct.unpack("<Q", data[long_at : long_at + 8])
                return _Samples(begin, size, block, long_at - start, "<Q")
            counted = layout.before + (layout.head if layout.counts_head else 0)
            promised = max(0, size - layout.before)
            return _Samples(begin, promised, block, size_at, layout.size, counted)
    raise UnreadableAudio(path, f"not a readable audio file (no {layout.samples.decode()} chunk)")


def _wav_block(form: bytes, order: str) -> int | None:
    """Bytes of a sample of all channels where it has the same number of bits as all others."""
    kind, _, _, _, block, bits = struct.unpack(order + "HHIIHH", form)
    plain = (1, 3, 6, 7, 0xFFFE)  # integers, floats, A-law, mu-law, and what says so further on
    return block if kind in plain and block and bits % 8 == 0 else None


def _au_samples(data: Data, start: int) -> _Samples:
    """Five numbers of four bytes: header, samples (bytes), encoding, rate, channels."""
    order = ">" if data[start : start + 4] == b".snd" else "<"
    begin, size, kind, _, channels = struct.unpack(order + "5I", data[start + 4 : start + 24])
    block = _AU_BYTES.get(kind, 0) * channels
    return _Samples(start + begin, size, block or None, 8, order + "I")


def _nist_samples(path: str | os.PathLike[str], data: Data, start: int) -> _Samples:
    """A header of text: its size in the second line, then lines `name -i value`.

    Numbers may be written as text of some length, `name -s1 2`.
    """
    size = data[start + 8 : start + 16].strip()
    if not size.isdigit():
        raise UnreadableAudio(path, "not a readable audio file (NIST header without a size)")
    header = data[start : start + int(size)]
    values = {key: int(value) for key, value in re.findall(rb"\n(\w+) -(?:i|s\d+) (\d+)\b", header)}
    block = values.get(b"sample_n_bytes", 0) * values.get(b"channel_count", 1)
    count = values.get(b"sample_count")
    promised = None if count is None or not block else block * count
    return _Samples(start + int(size), promised, block or None)


def _n_bytes(
    path: str | os.PathLike[str], data: Data, start: int, samples: _Samples, layout: _Layout | None
) -> int:
    """Bytes of samples that are there."""
    there = max(0, len(data) - samples.start)
    promised = samples.promised
    known = promised is not None and not _is_placeholder(promised)
    if promised is not None and promised <= there:
        rest = _not_chunks(data, start, samples.start + promised, layout)
        if not rest:
            return promised
        if promised and known:
            raise UnreadableAudio(
                path,
                f"its header says {promised} bytes of samples, but behind them stand {rest} bytes"
                " that are no part of such a file (a wrong length, or a second recording)",
            )
    elif known:
        reason = f"truncated: the header promises {promised} bytes, found {there}"
        raise TruncatedAudio(path, reason)
    end = before_tags(data, samples.start, len(data))
    while layout and layout.name == 4 and (chunk := _last_chunk(data, samples.start, end, layout)):
        end = chunk
    return end - samples.start


def _is_placeholder(size: int) -> bool:
    """Whether a size is what programs write that do not know it: about the largest there is."""
    return any(-_NEAR <= size - largest <= 0 for largest in _LARGEST)


def _not_chunks(data: Data, start: int, at: int, layout: _Layout | None) -> int:
    """Bytes from a place on that are neither chunks nor tags nor padding."""
    end = before_tags(data, at, len(data))
    rest_at = at
    if layout:
        for name, begin, size in _chunks(data, layout, start, at):
            fits = begin + size <= len(data) or name in _BEHIND
            if not fits or name in (layout.samples, b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff"):
                break
            rest_at = begin + size
    is_padding = rest_at >= end or rest_at + padding_length(data, rest_at) >= end
    return 0 if is_padding or rest_at + 1 == end else end - rest_at


def _last_chunk(data: Data, start: int, end: int, layout: _Layout) -> int:
    """Where a chunk begins that ends at a place, behind samples of unknown length; 0 if none."""
    for name in _BEHIND:
        at = data.rfind(name, max(start, end - _FAR), end - layout.head)
        while at >= 0:
            (size,) = struct.unpack(layout.size, data[at + 4 : at + layout.head])
            if end - 1 <= at + layout.head + size <= end:
                return at
            at = data.rfind(name, max(start, end - _FAR), at)
    return 0
