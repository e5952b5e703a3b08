"""Graphs of utterances for forced alignment: words, pronunciation variants, optional pauses."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.data.lexicon import Lexicon
from speechlm.recognizer.topology import (
    N_PDFS,
    N_STATES,
    NOISE_ID,
    PHONES,
    SILENCE_ID,
    UNKNOWN,
    phone_classes,
    positioned,
)
from speechlm.recognizer.viterbi import Graph

Pronunciations = dict[str, list[tuple[int, ...]]]
"""Word -> its pronunciations as tuples of output-phone ids, the preferred one first."""

PAUSE = np.log(0.3)
SHORT_PAUSE = np.log(0.05)
NO_PAUSE = np.log(0.65)
EDGE_PAUSE = np.log(0.8)
NO_EDGE_PAUSE = np.log(0.2)
VARIANT = np.log(0.7)
_MOST_UNKNOWN = 0.2
"""Share of words without pronunciation beyond which the lexicon must be a wrong one."""
_FEW = 20
"""So many unknown words say nothing about the lexicon."""
_FLAT_NOISE = 5
"""Phones that a word without pronunciation lasts as long as, before anything is aligned."""


@dataclass
class Hmm:
    """Classes of output phones (364,); log probabilities (P,) of staying in and leaving pdfs."""

    classes: np.ndarray
    stay: np.ndarray
    leave: np.ndarray

    def pdfs(self, phone: int) -> range:
        """Emission columns of an output phone."""
        number = int(self.classes[phone])
        return range(N_STATES * number, N_STATES * number + N_STATES)


def initial_hmm(sentences: Sequence[Sequence[str]], pronunciations: Pronunciations) -> Hmm:
    """Classes from the phone counts of the transcripts; staying and leaving equally likely."""
    counts = np.zeros(len(PHONES), dtype=np.int64)
    for words in sentences:
        for word in words:
            np.add.at(counts, list(variants(word, pronunciations)[0]), 1)
    half = np.full(N_PDFS, np.log(0.5))
    return Hmm(phone_classes(counts), half, half.copy())


def read_pronunciations(path: Path | str) -> Pronunciations:
    """Pronunciations in `lexicon.txt`, and noise as that of `UNKNOWN`.

    Raises:
        ValueError: as `Lexicon.read`.
    """
    entries = Lexicon.read(path).entries
    words = {word: [positioned(phones) for phones in entries[word]] for word in entries}
    return {**words, UNKNOWN: [(NOISE_ID,)]}


def variants(word: str, pronunciations: Pronunciations) -> list[tuple[int, ...]]:
    """Pronunciations of a word; those of `UNKNOWN` (noise) for one that is not there.

    Raises:
        ValueError: it is not there, and neither is `UNKNOWN`.
    """
    found = pronunciations.get(word) or pronunciations.get(UNKNOWN)
    if found is None:
        raise ValueError(f"words not in the lexicon: {word}")
    return found


def unknown_words(words: Iterable[str], pronunciations: Pronunciations) -> Counter[str]:
    """Words without a pronunciation, with counts."""
    return Counter(word for word in words if word not in pronunciations)


def check_unknown(words: Sequence[str], pronunciations: Pronunciations) -> None:
    """Log the words of transcripts that become noise.

    Raises:
        ValueError: they are so many that the lexicon must be one of other words.
    """
    unknown = unknown_words(words, pronunciations)
    if not unknown:
        return
    first = " ".join(word for word, _ in unknown.most_common(10))
    what = (
        f"{unknown.total()} of {len(words)} words of the transcripts are not in the lexicon "
        f"({len(unknown)} different ones, such as {first})"
    )
    if UNKNOWN not in pronunciations or unknown.total() > max(_FEW, _MOST_UNKNOWN * len(words)):
        raise ValueError(f"{what}; make_lexicon makes a lexicon that has them")
    logging.info("%s: they are taken for noise", what)


class _Builder:
    """Collects states; a *frontier* is the list of (state, log probability) one may come from."""

    def __init__(self, hmm: Hmm) -> None:
        self.hmm = hmm
        self.pdf: list[int] = []
        self.phone: list[int] = []
        self.unit: list[int] = []
        self.arcs: list[list[tuple[int, float]]] = []
        self.units = 0

    def add(self, phone: int, pdfs: Sequence[int], frontier: list[tuple[int, float]]):
        """Append the states of one phone; returns the frontier after it."""
        # a chain: the frontier leads to its first state, and each state to the next
        for pdf in pdfs:
            self.pdf.append(pdf)
            self.phone.append(phone)
            self.unit.append(self.units)
            self.arcs.append(frontier)
            frontier = [(len(self.pdf) - 1, float(self.hmm.leave[pdf]))]
        self.units += 1
        return frontier

    def graph(self, frontier: list[tuple[int, float]]) -> Graph:
        pdf = np.array(self.pdf, dtype=np.int32)
        final = np.full(len(pdf), -1e30, dtype=np.float32)
        for state, cost in frontier:
            final[state] = cost
        # incoming arcs of all states, those of state s at arc_start[s] .. arc_start[s + 1]
        arcs = [arc for incoming in self.arcs for arc in incoming]
        start = np.cumsum([0] + [len(incoming) for incoming in self.arcs])
        return Graph(
            pdf=pdf,
            phone=np.array(self.phone, dtype=np.int32),
            unit=np.array(self.unit, dtype=np.int32),
            loop=self.hmm.stay[pdf].astype(np.float32),
            final=final,
            arc_start=start.astype(np.int32),
            arc_from=np.array([a[0] for a in arcs], dtype=np.int32),
            arc_cost=np.array([a[1] for a in arcs], dtype=np.float32),
        )


def _with(frontier: list[tuple[int, float]], cost: float) -> list[tuple[int, float]]:
    return [(state, value + cost) for state, value in frontier]


def utterance_graph(words: Sequence[str], pronunciations: Pronunciations, hmm: Hmm) -> Graph:
    """The graph of a sentence: any variant of each word, a pause or a short pause between words.

    A pause is the three states of SIL, a short pause its middle state alone; both are optional.
    A word without pronunciation is noise.

    Raises:
        ValueError: words without a pronunciation (all are named), if `UNKNOWN` has none either.
    """
    missing = sorted(unknown_words(words, pronunciations))
    if missing and UNKNOWN not in pronunciations:
        raise ValueError(f"words not in the lexicon: {' '.join(missing)}")
    # From left to right, each state behind those it is entered from; a phone is three states:
    #
    #   start --+-- SIL --+-- W AH1 N ----+-- SIL (pause) ------------+-- next word
    #           |         |               |                           |
    #           +---------+-- HH W AH1 N -+-- its middle (short) -----+
    #                        (a variant)  |                           |
    #                                     +-- nothing ----------------+
    #
    # `frontier` holds the ways into the next part: states, each with its log probability.
    builder = _Builder(hmm)
    start = [(-1, 0.0)]
    silence = hmm.pdfs(SILENCE_ID)
    frontier = _with(builder.add(SILENCE_ID, silence, _with(start, EDGE_PAUSE)), 0.0)
    if words:
        frontier = frontier + _with(start, NO_EDGE_PAUSE)
    for number, word in enumerate(words):
        outgoing: list[tuple[int, float]] = []
        for rank, phones in enumerate(variants(word, pronunciations)):
            branch = frontier if rank == 0 else _with(frontier, VARIANT)
            for phone in phones:
                branch = builder.add(phone, hmm.pdfs(phone), branch)
            outgoing += branch
        last = number == len(words) - 1
        pause = builder.add(SILENCE_ID, silence, _with(outgoing, EDGE_PAUSE if last else PAUSE))
        frontier = pause + _with(outgoing, NO_EDGE_PAUSE if last else NO_PAUSE)
        if not last:
            frontier += builder.add(SILENCE_ID, silence[1:2], _with(outgoing, SHORT_PAUSE))
    return builder.graph(frontier)


def uniform_states(
    words: Sequence[str], pronunciations: Pronunciations, hmm: Hmm, n_frames: int
) -> np.ndarray:
    """Flat start: states spread evenly over the frames, pauses at the two ends only.

    Args:
        n_frames: T, at least as many as there are states.

    Returns:
        (T,) emission columns.
    """
    inner = [phone for word in words for phone in variants(word, pronunciations)[0]]
    pdfs = np.concatenate(
        [
            np.repeat(hmm.pdfs(phone), _FLAT_NOISE if phone == NOISE_ID else 1)
            for phone in (SILENCE_ID, *inner, SILENCE_ID)
        ]
    )
    return pdfs[(np.arange(n_frames) * len(pdfs)) // n_frames]


def count_transitions(paths: Sequence[tuple[Graph, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Log probabilities of staying and of leaving each pdf, from aligned state sequences."""
    # p(leave) = visits / frames, counted from 1 visit of 2 frames
    frames = np.full(N_PDFS, 2.0)
    visits = np.full(N_PDFS, 1.0)
    for graph, path in paths:
        frames += np.bincount(graph.pdf[path], minlength=N_PDFS)
        entered = np.concatenate([[True], np.diff(path) != 0])
        visits += np.bincount(graph.pdf[path[entered]], minlength=N_PDFS)
    leave = np.clip(visits / frames, 0.02, 0.98)
    return np.log1p(-leave), np.log(leave)
