"""CTC decoding through a graph: characters' log-probabilities to words, with a word model.

T frames, V characters. The objective of a sentence is the paper's, with a score for blanks:

    max over alignments of log P(characters | speech) - blank_score * (blank frames)
        + lm_weight * log10 P(words) + word_score * (words)

Source: SpeechLM, section V-A (flashlight's beam search with a 4-gram of LibriSpeech). There the
search keeps alignments in its beam and asks the word model; here the word model is in the graph
(`speechlm.lm.ctc_graph`), which looks ahead with it. doc/speed.md compares the two.
"""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.lm.ctc_graph import N_COLUMNS
from speechlm.lm.lattice import Lattice, best_sequences
from speechlm.lm.lattice import Path as LatticePath
from speechlm.lm.lattice_search import search_lattice
from speechlm.lm.search import Beam, GraphSearch

LN10 = math.log(10.0)
ACOUSTIC_BEAM = 6.0
"""Nats of the network by which a path may be behind in any case: a small weight of the word model
makes all costs large, and a beam narrow."""
LATTICE_BEAM = 8.0
"""Cost by which a sentence of an n-best list may be behind the best one."""
_MOST = 1e4  # of weights; scores are divided by that of the word model


@dataclass(frozen=True)
class Weights:
    """Of the parts of the objective; the defaults are the paper's.

    Raises:
        ValueError: a value that is not finite, or so far out that scores of 32 bits cannot hold
            it, or a weight of the word model that is not above 0.
    """

    lm_weight: float = 2.0
    """Of log10 P(words), as KenLM and flashlight count."""
    word_score: float = -1.0
    """Added for each word."""
    blank_score: float = 0.0
    """Subtracted for each frame of blank."""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}; a finite number expected")
            if abs(value) > _MOST:
                raise ValueError(
                    f"{name} is {value:g}; a number from -{_MOST:g} to {_MOST:g} expected"
                )
        if self.lm_weight <= 0:
            raise ValueError(f"lm_weight is {self.lm_weight}; a number above 0 expected")
        if self.lm_weight < 1 / _MOST:
            raise ValueError(
                f"lm_weight is {self.lm_weight:g}; {1 / _MOST:g} or more expected: the graph always"
                " has a word model (greedy decoding has none)"
            )


@dataclass(frozen=True)
class Found:
    """A hypothesis."""

    words: tuple[str, ...]
    complete: bool
    """Whether the search reached a final state; if not, the last word may be cut off."""


@dataclass(frozen=True)
class Entry:
    """A sentence of an n-best list."""

    words: tuple[str, ...]
    acoustic: float
    """Natural log of the probability of the best alignment, less the blank scores."""
    ngram: float
    """Log10 of the word model's probability, also of a neural one that takes part in a search."""
    labels: np.ndarray | None = None
    """(T,) columns of the scores (`speechlm.lm.ctc_graph`) along the best alignment."""

    def total(self, weights: Weights) -> float:
        """The objective (nats of the network)."""
        words = weights.word_score * len(self.words)
        return self.acoustic + weights.lm_weight * self.ngram + words


def scaled(emissions: np.ndarray, weights: Weights) -> np.ndarray:
    """(T, V) log-probabilities -> (T, V + 1) scores of the graph's columns.

    The graph's costs are -ln P(words): the objective is divided by its weight of a nat of these.
    """
    blank, word_end = CharacterVocabulary.blank, CharacterVocabulary.word_end
    scores = np.empty((len(emissions), N_COLUMNS), np.float32)
    scores[:, :-1] = emissions
    # blank: - b; the first frame of `|`: + word score, once a word
    scores[:, blank] -= weights.blank_score
    scores[:, -1] = emissions[:, word_end] + weights.word_score
    # lm_weight * log10 P = (lm_weight / ln 10) * ln P
    scores *= LN10 / weights.lm_weight
    return scores


class CTCSearch:
    """A decoding graph in memory.

    Args:
        graph: folder of make_ctc_graph.
        beam: how wide to search.

    Raises:
        ValueError: a file is missing or damaged, or the graph is of another kind.
    """

    def __init__(self, graph: str | os.PathLike[str], beam: Beam | None = None) -> None:
        self.folder, self.beam = Path(graph), beam or Beam()
        self._search = GraphSearch(self.folder)
        self._arrays = self._search.arrays
        self._check_labels()

    def _check_labels(self) -> None:
        """Refuse graphs that ask for other columns than ours, and words that have no name.

        Neither search looks whether a column is there: it would read whatever is behind the scores.
        """
        path, arcs = self.folder / "graph.fst", self._arrays.arcs
        columns = int(arcs["input"].max(initial=0))
        if columns != N_COLUMNS:
            raise ValueError(
                f"{path}: a graph of make_ctc_graph expected, which reads {N_COLUMNS} columns of "
                f"scores; this one reads {columns}, as that of a phone recogniser does"
            )
        written = np.unique(arcs["output"])
        unnamed = sorted(set(written[written != 0].tolist()) - self._search.word_of.keys())
        if unnamed:
            raise ValueError(
                f"{path} has {len(unnamed)} words without a name in words.txt (first: label "
                f"{unnamed[0]}), which is of another graph; make the graph again (make_ctc_graph)"
            )

    def width(self, weights: Weights) -> Beam:
        """The beam, in costs of the graph: at least `ACOUSTIC_BEAM` nats of the network."""
        least = ACOUSTIC_BEAM * LN10 / weights.lm_weight
        return dataclasses.replace(self.beam, beam=max(self.beam.beam, least))

    def decode(self, emissions: np.ndarray, weights: Weights) -> Found:
        """The best sentence of (T, V) log-probabilities."""
        words, complete = self._search.decode(scaled(emissions, weights), self.width(weights))
        return Found(tuple(words), complete)

    def lattice(self, emissions: np.ndarray, weights: Weights) -> Lattice | None:
        """What the search keeps; None where there is nothing."""
        scores = scaled(emissions, weights)
        return search_lattice(self._arrays, scores, self.width(weights), LATTICE_BEAM)

    def nbest(self, emissions: np.ndarray, weights: Weights, n: int) -> tuple[list[Entry], bool]:
        """The N best different sentences, best first, and whether they are complete."""
        lattice = self.lattice(emissions, weights)
        if lattice is None:
            return [], False
        paths = best_sequences(lattice, n, LATTICE_BEAM)
        return [self._entry(path, weights) for path in paths], lattice.complete

    def _entry(self, path: LatticePath, weights: Weights) -> Entry:
        # costs back to the objective's parts; the word score is in the columns of the words' ends
        words = tuple(self._search.word_of[label] for label in path.words)
        labels = path.labels - 1
        ends = int((labels == N_COLUMNS - 1).sum())
        acoustic = -path.acoustic * weights.lm_weight / LN10 - weights.word_score * ends
        return Entry(words, acoustic, -path.graph / LN10, labels)
