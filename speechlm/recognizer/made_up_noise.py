"""Sounds that are no speech, mixed into pauses of training utterances for the network to learn.

Transcripts do not say where somebody coughs or a door shuts, so that nothing in the alignments is
such a sound, and a network that has heard none takes it for some phone. These have a random
spectrum of one to three peaks, of noise and sometimes of pulses as in a buzz, and a random envelope
of one to four strokes.
"""

from __future__ import annotations

import zlib
from itertools import pairwise

import numpy as np

from speechlm.conventions import SAMPLE_RATE
from speechlm.recognizer.features import SHIFT
from speechlm.recognizer.topology import N_STATES, NOISE_ID, SILENCE_ID

SHORTEST_PAUSE = 20
"""Frames of a pause that a sound may be put into."""
SHORTEST, LONGEST = 12, 60
"""Frames of a sound."""
EDGE = 3
"""Frames of a pause that stay silent, at either end."""
SHARE = 0.6
"""Of such pauses have a sound."""
LOUDNESS = (0.3, 3.0)
"""Of a sound, relative to the speech of its utterance (root of mean square)."""


def generator(utterance: str, speed: float) -> np.random.Generator:
    """Random numbers of a copy of an utterance."""
    return np.random.default_rng([zlib.crc32(utterance.encode()), round(1000 * speed)])


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two, drawn on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def made_up_sound(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """(n_samples,) float64 at 16 kHz with a root of mean square of 1."""
    time = np.arange(n_samples) / SAMPLE_RATE
    # sources: noise, and one time in four pulses at 60 to 3,000 Hz
    source = rng.normal(size=n_samples)
    if rng.random() < 0.25:
        phase = time * _between(rng, 60, 3000)
        pulses = np.diff(np.floor(phase), prepend=0.0)
        source = 0.3 * source + pulses / max(pulses.std(), 1e-3)
    # spectrum: the highest of some parabolas on the mel scale, 40 dB deep
    mel = 2595 * np.log10(1 + np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE) / 700)
    level = np.full(len(mel), -40.0)
    for _ in range(rng.integers(1, 4)):
        centre, width = rng.uniform(0, mel[-1]), rng.uniform(150, 2000)
        level = np.maximum(level, -10 * ((mel - centre) / width) ** 2)
    sound = np.fft.irfft(np.fft.rfft(source) * 10 ** (level / 20), n_samples)
    # envelope: strokes that rise in 2 to 100 ms and fade in 30 ms to 1 s, the first at once
    envelope = np.zeros(n_samples)
    for number in range(rng.integers(1, 5)):
        since = time - (rng.uniform(0, 0.7) * time[-1] if number else 0.0)
        rise, fade = _between(rng, 0.002, 0.1), _between(rng, 0.03, 1.0)
        stroke = np.minimum(since / rise, 1.0) * np.exp(-np.maximum(since - rise, 0.0) / fade)
        envelope += np.where(since >= 0, stroke, 0.0)
    sound *= envelope
    return sound / max(float(np.sqrt((sound**2).mean())), 1e-9)


def with_sounds(
    samples: np.ndarray,
    labels: np.ndarray,
    states: np.ndarray,
    noise: range,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An utterance with sounds in some of its pauses, where its labels and states become noise.

    Args:
        samples: (n_samples,) at 16 kHz.
        labels: (T,) output phones, every 10 ms.
        states: (T,) HMM states.
        noise: the states of noise, in turn.
        rng: what is drawn from.
    """
    samples, labels, states = samples.copy(), labels.copy(), states.copy()
    silent = labels == SILENCE_ID
    # label i is what is heard from 10 (i + 1) ms on
    spoken = samples[SHIFT:][: SHIFT * len(labels)]
    spoken = spoken[~np.repeat(silent, SHIFT)[: len(spoken)]]
    loudness = float(np.sqrt((spoken**2).mean())) if len(spoken) else 0.0
    edges = [0, *(np.flatnonzero(np.diff(silent)) + 1), len(labels)]
    for start, end in pairwise(edges):
        if not silent[start] or end - start < SHORTEST_PAUSE or rng.random() > SHARE:
            continue
        length = min(int(rng.integers(SHORTEST, LONGEST + 1)), end - start - 2 * EDGE)
        begin = int(rng.integers(start + EDGE, end - EDGE - length + 1))
        sound = made_up_sound(SHIFT * length, rng) * loudness * _between(rng, *LOUDNESS)
        place = samples[SHIFT * (begin + 1) : SHIFT * (begin + 1 + length)]
        place += sound[: len(place)].astype(samples.dtype)
        labels[begin : begin + length] = NOISE_ID
        # noise is a phone of three states: a third of the sound each
        states[begin : begin + length] = np.array(noise)[np.arange(length) * N_STATES // length]
    return np.clip(samples, -1.0, 1.0), labels, states
