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
    if n < 1 or not n_states:
        return []
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
def _by_state(states, n_states):  # pragma: no cover
    """Arcs by one of their states; those of state s are order[first[s]:first[s + 1]]."""
    first = np.zeros(n_states + 1, np.int64)
    for a in range(len(states)):
        first[states[a] + 1] += 1
    for s in range(n_states):
        first[s + 1] += first[s]
    fill, order = first.copy(), np.empty(len(states), np.int64)
    for a in range(len(states)):
        order[fill[states[a]]] = a
        fill[states[a]] += 1
    return first, order


@numba.njit(cache=True)
def _topological(source, target, n_states, start):  # pragma: no cover
    """Rank of each state such that arcs go up; that of the start is 0."""
    first, order = _by_state(source, n_states)
    out, incoming = target[order], np.zeros(n_states, np.int64)
    for a in range(len(target)):
        incoming[target[a]] += 1
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
def grown(array):  # pragma: no cover
    """(n,) -> (2n,): a copy with room for twice as many."""
    out = np.empty(2 * len(array), array.dtype)
    for n in range(len(array)):
        out[n] = array[n]
    return out


@numba.njit(cache=True)
def _is_new(key, stamp, keys, stamps):  # pragma: no cover
    """Note a key in a hash table whose places count if they have this stamp; whether it is new."""
    place = key & np.uint64(len(keys) - 1)
    while stamps[place] == stamp:
        if keys[place] == key:
            return False
        place = (place + np.uint64(1)) & np.uint64(len(keys) - 1)
    keys[place], stamps[place] = key, stamp
    return True


@numba.njit(cache=True)
def _n_best(source, target, word, costs, final, behind, n, beam):  # pragma: no cover
    """Search for the N best different word sequences.

    Each state keeps the best path of each of the N best sequences that lead to it. An entry is a
    path: its last arc and the entry before. Two sequences are the same if their hashes are. Plain
    arrays and loops: with lists, dictionaries and `sorted` it takes six seconds to compile.

    Returns:
        Last arc (-1: the empty path) and previous entry of all entries, and the entries of the N
        best sequences, best first.
    """
    n_states = len(final)
    limit = min(behind[0] + beam, 1e300)  # not infinite, for then what costs so would be found
    into, incoming = _by_state(target, n_states)
    # entries, those of state s at held[s] to held[s + 1]; the first is the empty path
    room = 1 << 12
    arcs, back = np.empty(room, np.int64), np.empty(room, np.int64)
    total, key = np.empty(room, np.float64), np.empty(room, np.uint64)
    held = np.zeros(n_states + 1, np.int64)
    arcs[0], back[0], total[0], key[0] = -1, -1, 0.0, np.uint64(1469598103934665603)
    held[1] = entries = 1
    # candidates for a state: cost, arc, entry before, hash
    cost, arc = np.empty(room, np.float64), np.empty(room, np.int64)
    before, found = np.empty(room, np.int64), np.empty(room, np.uint64)
    table = 4
    while table < 2 * n:
        table *= 2
    keys, stamps = np.zeros(table, np.uint64), np.full(table, -1, np.int64)
    for s in range(1, n_states):
        candidates = 0
        for i in range(into[s], into[s + 1]):
            a = incoming[i]
            for e in range(held[source[a]], held[source[a] + 1]):
                if total[e] + costs[a] + behind[s] > limit:
                    continue
                if candidates == len(cost):
                    cost, arc, before, found = grown(cost), grown(arc), grown(before), grown(found)
                h = key[e]
                if word[a]:
                    h = (h ^ np.uint64(word[a])) * np.uint64(1099511628211)
                cost[candidates], arc[candidates] = total[e] + costs[a], a
                before[candidates], found[candidates] = e, h
                candidates += 1
        for c in np.argsort(cost[:candidates]):
            if entries - held[s] == n:
                break
            if not _is_new(found[c], s, keys, stamps):
                continue
            if entries == len(arcs):
                arcs, back, total, key = grown(arcs), grown(back), grown(total), grown(key)
            arcs[entries], back[entries] = arc[c], before[c]
            total[entries], key[entries] = cost[c], found[c]
            entries += 1
        held[s + 1] = entries
    ends = 0
    for s in range(n_states):
        for e in range(held[s], held[s + 1]):
            if total[e] + final[s] > limit:
                continue
            if ends == len(cost):
                cost, before = grown(cost), grown(before)
            cost[ends], before[ends] = total[e] + final[s], e
            ends += 1
    chosen, number = np.empty(n, np.int64), 0
    for c in np.argsort(cost[:ends]):
        if number < n and _is_new(key[before[c]], n_states, keys, stamps):
            chosen[number] = before[c]
            number += 1
    return arcs[:entries], back[:entries], chosen[:number]
