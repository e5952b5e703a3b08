"""Ogg (Vorbis, Opus): its pages, and the streams that they make.

A file may hold several streams one after the other, of which libsndfile reads the first.

    | first page | page | ... | last page || first page | page | ... | last page |
    |<------------ stream -------------->||<------------ stream -------------->|
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass

from speechlm.data.audio_parts import Contents, Part, TruncatedAudio, UnreadableAudio
from speechlm.data.audio_tags import Data, between_length

_HEAD = 27  # bytes of a page's header, before the sizes of its segments
_FIRST, _LAST = 2, 4  # flags of a page
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass
class _Stream:
    serial: bytes
    start: int
    end: int
    n_pages: int = 0
    is_whole: bool = False


def ogg_contents(path: str | os.PathLike[str], data: Data) -> Contents:
    """The streams of an Ogg file.

    Raises:
        UnreadableAudio: a page is missing or damaged, something else stands between pages, or
            several streams run side by side.
        TruncatedAudio: a stream has no last page.
    """
    streams: list[_Stream] = []
    at = 0
    while at < len(data):
        if data[at : at + 4] != b"OggS":
            skipped = between_length(path, data, at)
            if not skipped:
                reason = f"damaged, or joined with something else: at byte {at} stands no Ogg page"
                raise UnreadableAudio(path, reason)
            at += skipped
            continue
        at = _add_page(path, streams, data, at)
    for number, stream in enumerate(streams, 1):
        if not stream.is_whole:
            which = f"stream {number} of {len(streams)}" if len(streams) > 1 else "its stream"
            raise TruncatedAudio(path, f"truncated: {which} has no end-of-stream page")
    view = memoryview(data)
    note = f"{len(streams)} streams one after the other" if len(streams) > 1 else ""
    return Contents([Part((view[s.start : s.end],)) for s in streams], not note, note)


def _add_page(path: str | os.PathLike[str], streams: list[_Stream], data: Data, at: int) -> int:
    """Note a page; returns where it ends.

    Source: RFC 3533, section 6.
    """
    head = data[at : at + _HEAD]
    sizes = data[at + _HEAD : at + _HEAD + head[26]] if len(head) == _HEAD else b""
    end = at + _HEAD + len(sizes) + sum(sizes)
    if len(head) < _HEAD or len(sizes) < head[26] or end > len(data):
        raise TruncatedAudio(path, "truncated: cut off inside of its last Ogg page")
    if _sum(data[at : at + 22] + bytes(4) + data[at + 26 : end]) != head[22:26]:
        raise UnreadableAudio(path, f"damaged: the checksum of the Ogg page at byte {at} is wrong")
    flags, serial, number = head[5], head[14:18], int.from_bytes(head[18:22], "little")
    if flags & _FIRST:
        if streams and not streams[-1].is_whole and streams[-1].n_pages == 1:
            raise UnreadableAudio(path, "several Ogg streams side by side, one expected")
        if data[at + _HEAD + len(sizes) : end][:5] == b"\x7fFLAC":
            raise UnreadableAudio(path, "FLAC in Ogg, whose length cannot be checked: convert it")
        streams.append(_Stream(serial, at, end))
    if not streams or serial != streams[-1].serial or streams[-1].is_whole:
        raise UnreadableAudio(path, f"at byte {at} stands an Ogg page of no known stream")
    stream = streams[-1]
    if number != stream.n_pages:
        raise UnreadableAudio(
            path,
            f"damaged: at byte {at} Ogg page {stream.n_pages} of its stream expected,"
            f" found page {number}",
        )
    stream.end, stream.n_pages, stream.is_whole = end, number + 1, bool(flags & _LAST)
    return end


def _sum(page: bytes) -> bytes:
    """The page's cyclic sum, written as in its header.

    It has zlib's polynomial with the highest bit first, and begins and ends without inversion:
    zlib's sum of the bytes with their bits reversed, inverted before and after, reversed.
    """
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4, "big").translate(_REVERSED)
