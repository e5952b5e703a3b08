"""Recordings of any format, rate and length as a stream of mono samples at the models' rate.

S samples (16 kHz). Memory holds a block of the recording, not the whole of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import soxr

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.audio import read_blocks, read_header
from speechlm.data.audio_parts import EmptyAudio, UnreadableAudio

_SECONDS = 10  # of audio decoded at a time


def stream_mono(path: str | os.PathLike[str]) -> Iterator[np.ndarray]:
    """All of a recording, block by block: (S,) float32 at 16 kHz; channels are mixed.

    The samples are those of `audio.decode_any` and `audio.resample`.

    Raises:
        UnreadableAudio: the file is missing, no audio, or damaged; some samples are no numbers.
            Damage may be seen, and raised, behind the last block.
        TruncatedAudio: the file ends before the last of its samples.
        EmptyAudio: no samples, or all of them, after mixing, are zero; raised at the end.
    """
    rate = read_header(path).rate
    resampler = None
    if rate != SAMPLE_RATE:
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    n_samples, sound = 0, False
    for block in read_blocks(path, _SECONDS * rate):
        with np.errstate(over="ignore"):  # the check behind it sees what becomes infinite
            mono = block.mean(axis=1) if block.shape[1] > 1 else block[:, 0]
        if not np.isfinite(mono).all():
            raise UnreadableAudio(path, "some samples are not finite numbers")
        n_samples += len(mono)
        sound = sound or bool(mono.any())
        yield mono if resampler is None else resampler.resample_chunk(mono)
    if not n_samples:
        raise EmptyAudio(path, "no samples can be decoded")
    if not sound:
        raise EmptyAudio(path, "all samples are zero")
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
