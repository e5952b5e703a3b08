"""Tags before, between and behind the streams of an audio file: ID3, APE, Lyrics3."""

from __future__ import annotations

import mmap
import os
import re

from speechlm.data.audio_parts import TruncatedAudio

Data = bytes | mmap.mmap
_APE = 32  # bytes of an APE header, and of a footer
_ID3V1 = 128
_LYRICS = re.compile(rb"LYRICSBEGIN.*?(?:LYRICSEND|LYRICS200)", re.DOTALL)
_FAR = 1 << 20  # bytes in which the other end of a tag is looked for


def tag_length(data: Data, at: int) -> int:
    """Bytes of the tag that begins at a place, 0 if none does.

    Sources: id3.org (ID3v2.4.0 structure, 3.1; ID3v1; Lyrics3 2.00), wiki.hydrogenaud.io (APEv2).
    """
    head = data[at : at + _APE]
    if head[:3] == b"ID3" and len(head) >= 10 and all(byte < 0x80 for byte in head[6:10]):
        # seven bits of the size in each byte; a flag says that a footer of 10 bytes follows
        size = sum(byte << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:3] == b"TAG" and len(data) - at >= _ID3V1:
        return _ID3V1
    if head[:8] == b"APETAGEX" and len(head) == _APE:
        return _APE + int.from_bytes(head[12:16], "little")
    if head[:11] == b"LYRICSBEGIN":
        found = _LYRICS.match(data[at : at + _FAR])
        return len(found[0]) if found else 0
    footer = data.find(b"APETAGEX", at, at + _FAR)  # version 1 has no header
    if footer >= 0 and int.from_bytes(data[footer + 12 : footer + 16], "little") + at == (
        footer + _APE
    ):
        return footer + _APE - at
    return 0


def between_length(path: str | os.PathLike[str], data: Data, at: int) -> int:
    """Bytes of a tag, or of zeros, that stand at a place between streams, 0 if none do.

    Raises:
        TruncatedAudio: the tag says that it goes on behind the end of the file.
    """
    size = tag_length(data, at)
    if at + size > len(data):
        raise TruncatedAudio(path, f"truncated: the tag at byte {at} is not whole")
    return size or padding_length(data, at)


def padding_length(data: Data, at: int) -> int:
    """Zero bytes from a place on."""
    end = at
    while block := data[end : end + 65536]:
        rest = block.lstrip(b"\0")
        end += len(block) - len(rest)
        if rest:
            break
    return end - at


def before_tags(data: Data, start: int, end: int) -> int:
    """Where what ends at `end` with tags, if any, ends without them."""
    while size := _last_tag(data, start, end):
        end -= size
    return end


def _last_tag(data: Data, start: int, end: int) -> int:
    """Bytes of the tag that ends at a place, 0 if none does."""
    if end - start >= _ID3V1 and data[end - _ID3V1 : end - _ID3V1 + 3] == b"TAG":
        return _ID3V1
    footer = data[max(start, end - _APE) : end]
    if footer[:8] == b"APETAGEX":
        # the size counts the footer; flag 31 says that there is a header, too
        size = int.from_bytes(footer[12:16], "little")
        return min(end - start, size + (_APE if footer[23] & 0x80 else 0))
    for mark in (b"ID3", b"LYRICSBEGIN"):
        at = data.rfind(mark, max(start, end - _FAR), end)
        while at >= 0:
            if tag_length(data, at) == end - at:
                return end - at
            at = data.rfind(mark, max(start, end - _FAR), at)
    return 0
