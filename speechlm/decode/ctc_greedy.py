"""Greedy decoding of emissions.

T frames, V characters, U labels written.
"""

from __future__ import annotations

import numpy as np

from speechlm.data.vocabulary import CharacterVocabulary


def greedy(emissions: np.ndarray) -> str:
    """The best character of each frame of (T, V), repeats and blanks removed."""
    vocabulary = CharacterVocabulary()
    return vocabulary.decode(collapse(emissions.argmax(-1), vocabulary.blank))


def collapse(path: np.ndarray, blank: int) -> np.ndarray:
    """Remove repeats, then blanks, of the best label of each frame: (T,) -> (U,)."""
    changes = np.ones(len(path), bool)
    changes[1:] = path[1:] != path[:-1]
    return path[changes & (path != blank)]
