"""Decoding of audio files block by block: all that is there, with the sums that writers have left.

Blocks are (S, C): C channels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import numpy as np
import soundfile

from speechlm.data.audio_parts import (
    AudioError,
    Contents,
    Part,
    TruncatedAudio,
    UnreadableAudio,
    reason_of,
)

BLOCK = 1 << 20
"""Samples decoded at a time."""
FULL = 1 << 15
"""The 16-bit number of a sample of 1."""
_TAIL = 1600  # samples read at the end of a file in the quick check
_PADDING = 64  # zero bytes at the end of a FLAC file that are taken for padding


def decode(
    path: str | os.PathLike[str], contents: Contents, size: int = BLOCK
) -> Iterator[np.ndarray]:
    """Blocks (S, C) of all parts: int16 of 16-bit FLAC, else float32.

    Args:
        path: the file, for errors.
        contents: what it consists of.
        size: samples of a block; fewer at the end of a part.

    Raises:
        TruncatedAudio: there are fewer samples than promised, or decoding stops.
        UnreadableAudio: the samples differ from the checksum, or what is no FLAC stands behind.
    """
    for part in contents.parts:
        try:
            yield from _decode_part(path, part, size)
        except soundfile.LibsndfileError as error:
            raise _decoding_error(path, error) from None


def ends_as_promised(part: Part) -> bool:
    """Whether a FLAC stream has its last samples and none behind them."""
    with part.open() as file:
        promised = part.promised(file)
        assert promised is not None
        try:
            file.seek(max(0, promised - _TAIL))
            found = file.tell() + len(file.read(promised - file.tell(), dtype="int16"))
            return found == promised and len(file.read(1, dtype="int16")) == 0
        except soundfile.LibsndfileError:
            return False


def floats(block: np.ndarray) -> np.ndarray:
    """Samples as float32 in -1..1."""
    return block if block.dtype == np.float32 else block.astype(np.float32) / FULL


def joined(blocks: list[np.ndarray]) -> np.ndarray:
    """Blocks (S,) as one array; they are given up one by one: memory holds all only once."""
    if len(blocks) == 1:
        return blocks[0]
    whole, at = np.empty(sum(map(len, blocks)), np.float32), 0
    blocks.reverse()
    while blocks:
        block = blocks.pop()
        whole[at : at + len(block)] = block
        at += len(block)
    return whole


def _decoding_error(path: str | os.PathLike[str], error: Exception) -> AudioError:
    """Of a file that opens but does not decode: cut off or damaged, which nothing tells."""
    if not os.path.isfile(path):
        return UnreadableAudio(path, "no such file")
    reason = f"truncated or damaged: decoding stopped early ({reason_of(error)})"
    return TruncatedAudio(path, reason)


def _decode_part(path: str | os.PathLike[str], part: Part, size: int) -> Iterator[np.ndarray]:
    with part.open() as file:
        promised, n_samples = part.promised(file), 0
        is_short = file.format == "FLAC" and file.subtype == "PCM_16"
        md5 = hashlib.md5(usedforsecurity=False) if is_short and part.md5 else None
        for block in _blocks(path, part, file, "int16" if is_short else "float32", size):
            n_samples += len(block)
            if md5:
                md5.update(block.astype("<i2", copy=False).data)
            yield block
    if promised is not None and n_samples < promised:
        is_whole = md5 and md5.digest() == part.md5
        what = "wrong length in the header" if is_whole else "truncated or damaged"
        count = f"{promised} samples promised, found {n_samples}"
        raise TruncatedAudio(path, f"{what}: {count}{', which is all' if is_whole else ''}")
    if md5 and md5.digest() != part.md5:
        reason = "damaged: the decoded samples differ from the FLAC checksum"
        raise UnreadableAudio(path, reason)


def _blocks(
    path: str | os.PathLike[str], part: Part, file: soundfile.SoundFile, dtype: str, size: int
) -> Iterator[np.ndarray]:
    """What is promised, and what FLAC has behind it."""
    promised, n_samples = part.promised(file), 0
    while promised is None or n_samples < promised:
        wanted = size if promised is None else min(size, promised - n_samples)
        block = file.read(wanted, dtype, always_2d=True)
        if not len(block):
            return
        n_samples += len(block)
        yield block
    if file.format != "FLAC":
        return
    try:
        while len(block := file.read(size, dtype, always_2d=True)):
            yield block
    except soundfile.LibsndfileError:
        if any(part.pieces[-1][-_PADDING:]):
            raise UnreadableAudio(
                path, f"behind its {promised} samples stands what is no FLAC, or is damaged"
            ) from None
