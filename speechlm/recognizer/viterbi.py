"""Exact Viterbi search over the small left-to-right graph of one utterance."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

IMPOSSIBLE = -1e30


@dataclass
class Graph:
    """States in topological order; every state emits, and has a self-loop.

    `pdf` and `phone` (S,) give the emission column and the output phone; `arc_start` (S + 1)
    delimits the incoming arcs, from `arc_from` (-1 = start) with `arc_cost` log probability;
    `loop` (S,) is the log probability of staying; `final` (S,) that of ending there.
    `unit` (S,) numbers phone instances: it changes wherever a new phone begins.
    """

    pdf: np.ndarray
    phone: np.ndarray
    unit: np.ndarray
    loop: np.ndarray
    final: np.ndarray
    arc_start: np.ndarray
    arc_from: np.ndarray
    arc_cost: np.ndarray


@numba.njit(
    "Tuple((f8, i4[:]))(f4[:,::1], i4[:], f4[:], f4[:], i4[:], i4[:], f4[:])",
    nogil=True,
    cache=True,
)
def _search(emission, pdf, loop, final, arc_start, arc_from, arc_cost):  # pragma: no cover
    n_frames, n_states = emission.shape[0], len(pdf)
    # Viterbi: score_t(s) = emission(t, pdf(s)) + max(score_{t-1}(s) + loop(s),
    #                                                 max_a score_{t-1}(from(a)) + cost(a)),
    # arcs from the start (-1) being open at t = 0 only; back (T, S) remembers where the maximum is.
    score = np.full(n_states, -1e30)
    back = np.empty((n_frames, n_states), dtype=np.int32)
    for t in range(n_frames):
        # One row of scores serves both frames. Arcs come from states further left, so going left
        #
        #     state    0    1    2    3
        #     score   old  old  new  new      while state 1 is computed
        #
        # finds the scores of t - 1 wherever it looks.
        for s in range(n_states - 1, -1, -1):
            best = score[s] + loop[s]
            source = s
            for a in range(arc_start[s], arc_start[s + 1]):
                f = arc_from[a]
                if f >= 0:
                    value = score[f] + arc_cost[a]
                elif t == 0:
                    value = float(arc_cost[a])
                else:
                    value = -1e30
                if value > best:
                    best = value
                    source = f
            score[s] = best + emission[t, pdf[s]]
            back[t, s] = source
    # the best end, argmax_s score(s) + final(s), and the way back: path[t - 1] = back[t, path[t]]
    path = np.empty(n_frames, dtype=np.int32)
    state = 0
    total = -1e31
    for s in range(n_states):
        if score[s] + final[s] > total:
            total = score[s] + final[s]
            state = s
    for t in range(n_frames - 1, -1, -1):
        path[t] = state
        state = back[t, state]
    return total, path


def best_path(graph: Graph, emission: np.ndarray) -> tuple[float, np.ndarray]:
    """Best state sequence.

    Args:
        emission: (T, P) log-likelihoods of the pdfs.

    Returns:
        The log probability of the path, and its states (T,) int32.

    Raises:
        ValueError: no path: fewer frames than the shortest way through the graph.
    """
    total, path = _search(
        np.ascontiguousarray(emission, dtype=np.float32),
        graph.pdf,
        graph.loop,
        graph.final,
        graph.arc_start,
        graph.arc_from,
        graph.arc_cost,
    )
    if total < IMPOSSIBLE / 2:
        raise ValueError(f"{len(emission)} frames are too few for the words")
    return total, path
