"""Cepstral features of the phone recogniser (25 ms windows, 10 ms steps, no padded edges)."""

from __future__ import annotations

import kaldi_native_fbank as knf
import numpy as np
import soxr

SAMPLE_RATE = 16000
WINDOW = 400
SHIFT = 160
N_CEPS = 20
N_MELS = 30
GMM_CEPS = 13
"""Cepstra that the Gaussians see, with deltas; the network sees the others as they are."""


def n_frames(n_samples: int) -> int:
    """Number of 10 ms frames of ``n_samples`` samples at 16 kHz (0 if under 25 ms)."""
    return 0 if n_samples < WINDOW else (n_samples - WINDOW) // SHIFT + 1


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


def mfcc(samples: np.ndarray, speed: float = 1.0) -> np.ndarray:
    """Mel cepstra of one utterance.

    Args:
        samples: (n_samples,) float in [-1, 1] at 16 kHz.
        speed: play the audio this many times faster first (pitch moves with it).

    Returns:
        (T, 20) float32 with T = (n_samples - 400) // 160 + 1 (0 rows if too short).
    """
    samples = np.asarray(samples, dtype=np.float32)
    if speed != 1.0:
        samples = soxr.resample(samples, SAMPLE_RATE * speed, SAMPLE_RATE, quality="MQ")
    count = n_frames(len(samples))
    if count == 0:
        return np.zeros((0, N_CEPS), dtype=np.float32)
    extractor = knf.OnlineMfcc(_OPTIONS)
    extractor.accept_waveform(SAMPLE_RATE, samples * 32768.0)
    extractor.input_finished()
    return np.array([extractor.get_frame(t) for t in range(count)], dtype=np.float32)


def _shifted(frames: np.ndarray, offset: int) -> np.ndarray:
    """``frames`` moved by ``offset`` frames, edges repeated."""
    index = np.clip(np.arange(len(frames)) + offset, 0, len(frames) - 1)
    return frames[index]


def deltas(frames: np.ndarray) -> np.ndarray:
    """(T, 20) cepstra -> (T, 39): the first 13 with first and second regression deltas."""
    static = frames[:, :GMM_CEPS]

    def slope(x: np.ndarray) -> np.ndarray:
        return sum(k * (_shifted(x, k) - _shifted(x, -k)) for k in (1, 2)) / 10.0

    first = slope(static)
    return np.concatenate([static, first, slope(first)], axis=1).astype(np.float32)


def mean_normaliser(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of (T, D) frames, for :func:`normalise`."""
    return (
        frames.mean(axis=0).astype(np.float32),
        np.maximum(frames.std(axis=0), 1e-3).astype(np.float32),
    )


def normalise(frames: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Cepstral mean and variance normalisation with the speaker's statistics."""
    return (frames - mean) / deviation


def with_higher_cepstra(adapted: np.ndarray, normalised: np.ndarray) -> np.ndarray:
    """(T, 39) adapted features and (T, 20) normalised cepstra -> (T, 46), the network's input."""
    return np.concatenate([adapted, normalised[:, GMM_CEPS:]], axis=1).astype(np.float32)
