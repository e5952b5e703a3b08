"""Cepstral features of the phone recogniser: 25 ms windows, 10 ms steps, a frame for each label.

Label `i` names what is spoken from `10 (i + 1)` to `10 (i + 2)` ms. Its window is centred on
the middle of that cell: it begins at `10 i + 2.5` ms.
"""

from __future__ import annotations

import kaldi_native_fbank as knf
import numpy as np
import soxr

from speechlm.conventions import SAMPLE_RATE, WINDOW, Framing

SHIFT = 160
OFFSET = 40
"""Samples before the first window."""
N_CEPS = 20
N_MELS = 30
GMM_CEPS = 13
"""Cepstra that the aligning Gaussians see, with deltas."""
CONTEXT = 2
"""Frames on either side that the network's features are made from."""


def n_frames(n_samples: int) -> int:
    """Number of 10 ms frames of `n_samples` samples at 16 kHz (0 if under 25 ms)."""
    return Framing(WINDOW, SHIFT).frames(n_samples)


def _mfcc_options() -> knf.MfccOptions:
    options = knf.MfccOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.snip_edges = True
    options.num_ceps = N_CEPS
    options.mel_opts.num_bins = N_MELS
    options.use_energy = False
    return options


_OPTIONS = _mfcc_options()


def at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """(n_samples,) at 16 kHz, played this many times faster (pitch moves with it)."""
    if speed == 1.0:
        return samples
    return soxr.resample(samples, SAMPLE_RATE * speed, SAMPLE_RATE, quality="MQ")


def mfcc(samples: np.ndarray, speed: float = 1.0) -> np.ndarray:
    """Mel cepstra of one utterance.

    Args:
        samples: (n_samples,) float in [-1, 1] at 16 kHz.
        speed: of `at_speed`, which is applied first.

    Returns:
        (T, 20) float32 with T = (n_samples - 400) // 160 + 1 (0 rows if too short).
    """
    samples = at_speed(np.asarray(samples, dtype=np.float32), speed)
    count = n_frames(len(samples))
    if count == 0:
        return np.zeros((0, N_CEPS), dtype=np.float32)
    samples = np.concatenate([samples[OFFSET:], samples[: -OFFSET - 1 : -1]])  # mirrored end
    extractor = knf.OnlineMfcc(_OPTIONS)
    extractor.accept_waveform(SAMPLE_RATE, samples * 32768.0)
    extractor.input_finished()
    return np.array([extractor.get_frame(t) for t in range(count)], dtype=np.float32)


def _shifted(frames: np.ndarray, offset: int) -> np.ndarray:
    """`frames` moved by `offset` frames, edges repeated."""
    index = np.clip(np.arange(len(frames)) + offset, 0, len(frames) - 1)
    return frames[index]


def deltas(frames: np.ndarray) -> np.ndarray:
    """(T, 20) cepstra -> (T, 39): the first 13 with first and second regression deltas."""
    return with_slopes(frames[:, :GMM_CEPS])


def with_slopes(frames: np.ndarray) -> np.ndarray:
    """(T, D) -> (T, 3 D): with first and second regression deltas, edges repeated."""

    def slope(x: np.ndarray) -> np.ndarray:
        return sum(k * (_shifted(x, k) - _shifted(x, -k)) for k in (1, 2)) / 10.0

    first = slope(frames)
    return np.concatenate([frames, first, slope(first)], axis=1).astype(np.float32)


def splice(frames: np.ndarray) -> np.ndarray:
    """(T, 20) cepstra -> (T, 100): each frame with its neighbours, edges repeated."""
    return np.concatenate([_shifted(frames, o) for o in range(-CONTEXT, CONTEXT + 1)], axis=1)


def mean_normalizer(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of (T, D) frames, for `normalize`."""
    return (
        frames.mean(axis=0).astype(np.float32),
        np.maximum(frames.std(axis=0), 1e-3).astype(np.float32),
    )


def normalize(frames: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Cepstral mean and variance normalisation with the speaker's statistics."""
    return (frames - mean) / deviation
