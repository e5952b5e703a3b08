"""FLAC: what its header promises, streams behind the first, and a length of 0, which means unknown.

    | tags | fLaC | stream information | other metadata | frame | frame | ... | tags | fLaC | ...
           |<------------------------- stream ------------------------->|

Source: RFC 9639, sections 8 (metadata) and 9 (frames).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from speechlm.data.audio_parts import Contents, EmptyAudio, Part, TruncatedAudio
from speechlm.data.audio_tags import Data, before_tags

_MARK = b"fLaC"
_INFORMATION = 34  # bytes of the stream information, always the first metadata block
_FAR = 1 << 18  # bytes in which the last frame must begin where the header names no largest one


@dataclass(frozen=True)
class _Header:
    """Places in the file and values of a stream's header."""

    start: int
    information: int
    frames: int
    n_samples: int
    """0 where the writer did not know."""
    largest_frame: int
    md5: bytes | None


def flac_contents(
    path: str | os.PathLike[str], data: Data, start: int, only_first: bool = False
) -> Contents:
    """The streams of a FLAC file, the first of which begins at a place.

    Their headers are made to say that the length is unknown, so that libsndfile reads whatever
    there is; `Part.n_samples` keeps what they promise.

    Args:
        path: the file, for errors.
        data: its bytes.
        start: where the first stream begins.
        only_first: do not look for others, which takes reading the whole file.

    Raises:
        EmptyAudio: there are no frames.
        TruncatedAudio: the header is not whole, or the last frame of a stream of unknown length is
            cut off.
    """
    headers = [_header(path, data, start)]
    while not only_first and (mark := _next_mark(data, headers[-1].frames)) >= 0:
        headers.append(_header(path, data, mark))
    ends = [header.start for header in headers[1:]] + [len(data)]
    if not only_first or not headers[0].n_samples:  # else the header says where the samples end
        ends = [
            before_tags(data, header.frames, end) for header, end in zip(headers, ends, strict=True)
        ]
    parts = [_part(path, data, header, end) for header, end in zip(headers, ends, strict=True)]
    note = f"{len(parts)} streams one after the other" if len(parts) > 1 else ""
    return Contents(parts, len(parts) == 1 and parts[0].n_samples is not None, note)


def _header(path: str | os.PathLike[str], data: Data, start: int) -> _Header:
    information = start + len(_MARK) + 4
    values = data[information : information + _INFORMATION]
    at, is_last = start + len(_MARK), False
    while not is_last:
        # a metadata block: 1 bit says whether it is the last, 7 bits its type, 24 bits its bytes
        head = data[at : at + 4]
        if len(head) < 4 or len(values) < _INFORMATION or data[start + len(_MARK)] & 0x7F:
            raise TruncatedAudio(path, "truncated or damaged: the FLAC header is not whole")
        is_last = bool(head[0] & 0x80)
        at += 4 + int.from_bytes(head[1:], "big")
    # 16 + 16 bits of block sizes, 24 + 24 of frame sizes, 28 of rate, channels and sample size,
    # 36 bits of length, 128 of the sum
    n_samples = int.from_bytes(values[13:18], "big") & (1 << 36) - 1
    md5 = values[18:34]
    largest = int.from_bytes(values[7:10], "big")
    return _Header(start, information, at, n_samples, largest, md5 if any(md5) else None)


def _next_mark(data: Data, start: int) -> int:
    """Where another stream begins, -1 if none does: its mark and the head of its information."""
    at = data.find(_MARK, start)
    while at >= 0 and data[at + 4 : at + 8] not in (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22"):
        at = data.find(_MARK, at + 1)
    return at


def _part(path: str | os.PathLike[str], data: Data, header: _Header, end: int) -> Part:
    if end <= header.frames and not header.n_samples:
        raise EmptyAudio(path, "the file has no samples")
    known = header.n_samples or header.md5
    if not known and not _ends_with_a_frame(data, header, end):
        raise TruncatedAudio(
            path,
            "truncated or damaged: its header gives no length, and what it ends with is no whole"
            " FLAC frame",
        )
    at = header.information + 13 - header.start
    head = bytearray(data[header.start : header.information + _INFORMATION])
    head[at : at + 5] = bytes([head[at] & 0xF0, 0, 0, 0, 0])
    rest = memoryview(data)[header.information + _INFORMATION : end]
    return Part((bytes(head), rest), header.n_samples or None, header.md5)


def _ends_with_a_frame(data: Data, header: _Header, end: int) -> bool:
    """Whether the sum at the end fits a frame before it: the sum of all, itself too, is then 0."""
    first = max(header.frames, end - (header.largest_frame or _FAR))
    at = end
    while (at := max(data.rfind(b"\xff\xf8", first, at), data.rfind(b"\xff\xf9", first, at))) >= 0:
        if _crc16(data[at:end]) == 0:
            return True
    return False


def _crc16(values: bytes) -> int:
    """Cyclic sum with the polynomial x^16 + x^15 + x^2 + 1, from 0, the highest bit first."""
    crc = 0
    for byte in values:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
    return crc


def _crc16_table() -> list[int]:
    table = []
    for value in range(256):
        crc = value << 8
        for _ in range(8):
            crc = crc << 1 ^ (0x18005 if crc & 0x8000 else 0)
        table.append(crc & 0xFFFF)
    return table


_CRC16 = _crc16_table()
