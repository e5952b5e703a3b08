"""Words of emissions with their frames and confidences, greedily or from an n-best list.

T frames, V characters. A span is the first frame of a word's first letter and the one behind its
last letter's last frame. Letters of CTC are short: a word is said to begin late rather than early.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from speechlm.data.vocabulary import N_SPECIALS, CharacterVocabulary

if TYPE_CHECKING:
    from speechlm.decode.ctc_search import Entry, Weights

Span = tuple[int, int]


@dataclass(frozen=True)
class Spoken:
    """A word in frames."""

    word: str
    span: Span
    confidence: float
    """Above 0, at most 1."""


def letters_of_words(labels: np.ndarray) -> list[list[tuple[int, int, int]]]:
    """The letters of each word of an alignment: (character, first frame, frame behind the last).

    Args:
        labels: (T,) characters, or columns of a graph's scores (`speechlm.lm.ctc_graph`), where the
            one behind the characters is the first frame of a `|`.
    """
    vocabulary = CharacterVocabulary
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    words: list[list[tuple[int, int, int]]] = [[]]
    for first, last in zip(starts, [*starts[1:], len(labels)], strict=False):
        label = int(labels[first])
        if label in (vocabulary.word_end, vocabulary.n_ids):
            words.append([])
        elif N_SPECIALS <= label < vocabulary.mask:
            words[-1].append((label, int(first), int(last)))
    return [word for word in words if word]


def greedy_words(emissions: np.ndarray) -> list[Spoken]:
    """Words of the best character of each frame of (T, V) log-probabilities.

    The confidence of a word is the geometric mean of its letters' probabilities, each of them that
    of its surest frame.
    """
    found = []
    for letters in letters_of_words(emissions.argmax(1)):
        best = [emissions[first:last, letter].max() for letter, first, last in letters]
        word = "".join(CharacterVocabulary.symbols[letter] for letter, _, _ in letters)
        confidence = math.exp(min(0.0, float(np.mean(best))))
        found.append(Spoken(word, (letters[0][1], letters[-1][2]), confidence))
    return found


def likely_words(entries: Sequence[Entry], weights: Weights) -> list[Spoken]:
    """Words of the first of the N best sentences.

    The confidence of a word is the sum of the posterior probabilities of those sentences that have
    the same word at an overlapping time. The posterior of a sentence is its share of

        sum over sentences of exp(objective * ln 10 / lm_weight)

    where the word model's probability has the power 1, as if the network's were to be scaled.
    """
    if not entries:
        return []
    totals = np.array([entry.total(weights) for entry in entries]) * math.log(10)
    totals /= weights.lm_weight
    posteriors = np.exp(totals - totals.max())
    posteriors /= posteriors.sum()
    places: dict[str, list[tuple[Span, int]]] = defaultdict(list)
    for n, entry in enumerate(entries):
        for word, span in zip(entry.words, spans(entry), strict=True):
            places[word].append((span, n))
    found = []
    for word, span in zip(entries[0].words, spans(entries[0]), strict=True):
        having = {n for other, n in places[word] if other[0] < span[1] and span[0] < other[1]}
        confidence = float(posteriors[sorted(having | {0})].sum())
        found.append(Spoken(word, span, min(1.0, confidence)))
    return found


def spans(entry: Entry) -> list[Span]:
    """Of each word of an entry, from its alignment.

    Of an unfinished sentence the last word may have no letter yet: it is at the end.
    """
    assert entry.labels is not None
    found = [(word[0][1], word[-1][2]) for word in letters_of_words(entry.labels)]
    end = len(entry.labels)
    found = found[: len(entry.words)]
    return found + [(max(0, end - 1), end)] * (len(entry.words) - len(found))
