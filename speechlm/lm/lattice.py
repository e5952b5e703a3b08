"""Lattices, what a graph search has kept, and the best different word sequences in them.

A arcs, S states, N sequences wanted. Costs are negative natural logarithms after scaling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np


@dataclass(frozen=True)
class Lattice:
    """The paths that a search has kept, as arrays; states are in topological order, 0 the start."""

    source: np.ndarray
    """(A,) int32 states, ascending."""
    target: np.ndarray
    """(A,) int32 states."""
    label: np.ndarray
    """(A,) int32 input labels: column of the scores + 1; 0: an arc that takes no frame."""
    word: np.ndarray
    """(A,) int32 labels of words; 0: none."""
    graph: np.ndarray
    """(A,) float64 costs of the word model."""
    acoustic: np.ndarray
    """(A,) float64 costs of the scores."""
    final: np.ndarray
    """(S,) float64 costs of ending (word model); infinite where a path cannot end."""
    complete: bool
    """Whether a final state of the search graph was reached; if not, paths end where they are."""


@dataclass(frozen=True)
class Path:
    """The best path of a word sequence."""

    words: tuple[int, ...]
    labels: np.ndarray
    """(T,) int32 input labels, one a frame."""
    graph: float
    """Cost of the word model."""
    acoustic: float
    """Cost of the scores."""

    @property
    def cost(self) -> float:
        """What paths are compared by."""
        return self.graph + self.acoustic


def best_sequences(lattice: Lattice, n: int, lattice_beam: float) -> list[Path]:
    """The best path of each of the N best word sequences, best first.

    Sequences that are further than `lattice_beam` behind the best one are not looked for.
    """
    n_states = len(lattice.final)
    costs = lattice.graph + lattice.acoustic
    behind = _cost_to_end(lattice.source, lattice.target, costs, lattice.final, n_states)
    entries = _n_best(
        *(lattice.source, lattice.target, lattice.word, costs, lattice.final, behind),
        *(n, lattice_beam),
    )
    arcs, back, ends = entries
    return sorted((_trace(lattice, arcs, back, int(end)) for end in ends), key=lambda p: p.cost)


def _trace(lattice: Lattice, arcs: np.ndarray, back: np.ndarray, entry: int) -> Path:
    """Follow an entry of the search for sequences back to the start."""
    last = lattice.target[arcs[entry]] if arcs[entry] >= 0 else 0
    chain = []
    while arcs[entry] >= 0:
        chain.append(arcs[entry])
        entry = back[entry]
    path = np.array(chain[::-1], np.int64)
    labels, words = lattice.label[path], lattice.word[path]
    return Path(
        tuple(words[words > 0].tolist()),
        labels[labels > 0],
        float(lattice.graph[path].sum() + lattice.final[last]),
        float(lattice.acoustic[path].sum()),
    )


def ordered(
    source: np.ndarray, target: np.ndarray, final: np.ndarray, start: int, complete: bool, **arcs
) -> Lattice:
    """A lattice of arcs and states in any order.

    Args:
        source: (A,) states.
        target: (A,) states.
        final: (S,) costs of ending.
        start: the first state.
        complete: see `Lattice`.
        arcs: `label`, `word`, `graph` and `acoustic` of `Lattice`, in the order of the arcs.
    """
    rank = _topological(source, target, len(final), start)
    order = np.argsort(rank[source], kind="stable")
    ranked = np.empty_like(final)
    ranked[rank] = final
    columns = {name: values[order] for name, values in arcs.items()}
    return Lattice(
        rank[source][order], rank[target][order], final=ranked, complete=complete, **columns
    )


@numba.njit(cache=True)
def _topological(source, target, n_states, start):  # pragma: no cover
    """Rank of each state such that arcs go up; that of the start is 0."""
    first = np.zeros(n_states + 1, np.int64)
    incoming = np.zeros(n_states, np.int64)
    for a in range(len(source)):
        first[source[a] + 1] += 1
        incoming[target[a]] += 1
    first = np.cumsum(first)
    fill, out = first[:-1].copy(), np.empty(len(source), np.int32)
    for a in range(len(source)):
        out[fill[source[a]]] = target[a]
        fill[source[a]] += 1
    rank = np.full(n_states, -1, np.int32)
    queue, head, tail = np.empty(n_states, np.int32), 0, 0
    queue[tail] = start
    tail += 1
    for s in range(n_states):
        if incoming[s] == 0 and s != start:
            queue[tail] = s
            tail += 1
    while head < tail:
        s = queue[head]
        rank[s] = head
        head += 1
        for k in range(first[s], first[s + 1]):
            incoming[out[k]] -= 1
            if incoming[out[k]] == 0 and out[k] != start:
                queue[tail] = out[k]
                tail += 1
    return rank


@numba.njit(cache=True)
def _cost_to_end(source, target, costs, final, n_states):  # pragma: no cover
    """(S,) cost of the best way from each state to an end."""
    behind = final.copy()
    for a in range(len(source) - 1, -1, -1):
        cost = costs[a] + behind[target[a]]
        if cost < behind[source[a]]:
            behind[source[a]] = cost
    return behind


@numba.njit(cache=True)
def _n_best(source, target, word, costs, final, behind, n, beam):  # pragma: no cover
    """Search for the N best different word sequences.

    Each state keeps the best path of each of the N best sequences that lead to it. An entry is a
    path: its last arc and the entry before. Two sequences are the same if their hashes are.

    Returns:
        Last arc (-1: the empty path) and previous entry of all entries, and the entries of the N
        best sequences, in no order.
    """
    n_states = len(final)
    limit = behind[0] + beam
    arcs, back = [-1], [-1]
    total, key = [0.0], [np.uint64(1469598103934665603)]
    # of each state: its entries, of which there are at most N
    held = [np.empty(0, np.int64) for _ in range(n_states)]
    held[0] = np.zeros(1, np.int64)
    # candidates for a state gather in lists, as its arcs come one by one
    waiting_arc = [[0 for _ in range(0)] for _ in range(n_states)]
    for a in range(len(source)):
        waiting_arc[target[a]].append(a)
    end_cost, end_entry, end_key = [np.inf for _ in range(0)], [0 for _ in range(0)], [key[0]]
    end_key.pop()
    for s in range(n_states):
        if s > 0:
            best = {np.uint64(0): (np.inf, 0, 0)}
            best.pop(np.uint64(0))
            for a in waiting_arc[s]:
                for e in held[source[a]]:
                    cost = total[e] + costs[a]
                    if cost + behind[s] > limit:
                        continue
                    h = key[e]
                    if word[a]:
                        h = (h ^ np.uint64(word[a])) * np.uint64(1099511628211)
                    if h not in best or cost < best[h][0]:
                        best[h] = (cost, a, e)
            kept = sorted([(value[0], h) for h, value in best.items()])[:n]
            mine = np.empty(len(kept), np.int64)
            for k in range(len(kept)):
                cost, last, before = best[kept[k][1]]
                mine[k] = len(arcs)
                arcs.append(last)
                back.append(before)
                total.append(cost)
                key.append(kept[k][1])
            held[s] = mine
        if final[s] < np.inf:
            for e in held[s]:
                if total[e] + final[s] <= limit:
                    end_cost.append(total[e] + final[s])
                    end_entry.append(int(e))
                    end_key.append(key[e])
    seen = {np.uint64(0)}
    chosen = [0 for _ in range(0)]
    for end in np.argsort(np.array(end_cost)).astype(np.int64):
        if len(chosen) < n and end_key[end] not in seen:
            seen.add(end_key[end])
            chosen.append(end_entry[end])
    return np.array(arcs), np.array(back), np.array(chosen)
