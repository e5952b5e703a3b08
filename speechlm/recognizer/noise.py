"""Noise in decoding: what the word of noise scores beside the words of the lexicon.

Noise is whatever is neither a phone of a known word nor silence. Sounds that are no speech the
network learns from `recognizer/made_up_noise.py`. Words without a pronunciation need more:

- They are made of phones, the same as all words, so that the network's posterior of noise there is
  hardly above the prior (a score near 0), while the score of the best phone, whatever it is, is
  several nats. A path of wrong words has some of those phones right by chance and wins. So noise
  scores at least as the best phone less a margin: less than words that fit, more than words that do
  not. This is the online garbage model of word spotting (Bourlard, D'hoore & Boite 1994,
  "Optimizing recognition and rejection performance in wordspotting systems"), with the best score
  alone.
- A word model gives `<unk>` the probability of one word that it has not seen. The word of noise
  stands for all of them, and is entered with their share of the words.
"""

from __future__ import annotations

import math

import numpy as np

from speechlm.recognizer.topology import BASE_OF_PHONE, NOISE_ID, SILENCE_ID

SILENCE_CLASS, NOISE_CLASS = int(BASE_OF_PHONE[SILENCE_ID]), int(BASE_OF_PHONE[NOISE_ID])
"""Context classes: neither is ever split by a decision tree, so they keep their base's number."""
NEVER = -1e6
"""A score (nats) that no path survives."""


def with_noise(scores: np.ndarray, margin: float) -> np.ndarray:
    """(U, n_classes) class scores with noise's raised to the best phone's less `margin` (nats).

    Scores are log posteriors less log priors; silence is no phone here, so that noise does not
    follow it into pauses.
    """
    phones = np.delete(scores, [SILENCE_CLASS, NOISE_CLASS], axis=1)
    raised = scores.copy()
    raised[:, NOISE_CLASS] = np.maximum(scores[:, NOISE_CLASS], phones.max(axis=1) - margin)
    return raised


def entering(rate: float, unknown: float) -> float:
    """Log score of entering noise, for a `rate` of noise among words and log10 P(`<unk>`)."""
    # the graph's path has log P(<unk>); with log rate - log P(<unk>) in addition it has log rate
    return math.log(rate) - unknown * math.log(10) if rate > 0 else NEVER
