"""Beam search through a graph that keeps a lattice; for n-best lists, times and confidences.

kaldi-decoder's search that is limited to a number of states keeps one path, and that which keeps
lattices has no such limit: on a weak network's scores it takes minutes a sentence, or loses all
paths. This is the former's search (Kaldi's `FasterDecoder`), with the links between its tokens
kept.

T frames, S states of the graph, A arcs of the graph, L links of the lattice.
"""

from __future__ import annotations

import numba
import numpy as np

from speechlm.lm.graph_arrays import GraphArrays
from speechlm.lm.lattice import Lattice, grown, ordered
from speechlm.lm.search import Beam

_MARGIN = 0.5
"""Beam beyond the last state kept, where the number of states is what limits (Kaldi's value)."""


def search_lattice(
    graph: GraphArrays, scores: np.ndarray, beam: Beam, lattice_beam: float
) -> Lattice | None:
    """(T, n) scaled log-scores -> lattice; None where there is no frame, or no path at all.

    Args:
        graph: the graph.
        scores: one row a frame.
        beam: of the search.
        lattice_beam: cost by which paths of the lattice may be behind the best one.
    """
    if not len(scores):
        return None
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    width = (float(beam.beam), beam.max_active, beam.least)
    tokens, links, costs, frames = _search(graph.states, graph.arcs, graph.start, scores, *width)
    states, reached = tokens
    source, target, label, word = links
    last = frames[-1]
    if last == len(states):  # nothing has come through the last frame
        return None
    ends = graph.states["final"][states[last:]].astype(np.float64)
    complete = bool(np.isfinite(ends).any())
    final = np.full(len(states), np.inf)
    final[last:] = ends if complete else 0.0
    total = costs[0].astype(np.float64) + costs[1]
    behind = _cost_to_end(source, target, total, final, frames)
    # a link stays if the best path through it is within the lattice's beam of the best of all
    limit = behind[0] + lattice_beam
    kept = reached[source] + total + behind[target] <= limit
    alive = reached + behind <= limit
    number = (np.cumsum(alive) - 1).astype(np.int32)
    return ordered(
        number[source[kept]],
        number[target[kept]],
        final[alive],
        0,
        complete,
        label=label[kept],
        word=word[kept],
        graph=costs[0][kept].astype(np.float64),
        acoustic=costs[1][kept].astype(np.float64),
    )


@numba.njit(cache=True)
def _smallest(values, k):  # pragma: no cover
    """What is at place K of the sorted values; `np.partition` takes five seconds to compile."""
    values = values.copy()
    low, high = 0, len(values) - 1
    while low < high:
        # the median of three, so that values that rise and fall are not the worst case
        first, middle, last = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(first, middle), min(max(first, middle), last))
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@numba.njit(cache=True)
def _cutoff(costs, beam, max_active, min_active):  # pragma: no cover
    """Cost below which a frame's tokens are gone on with, and the beam for the next frame."""
    best = costs.min()
    limit = best + beam
    if len(costs) > max_active:
        most = _smallest(costs, max_active)
        if most < limit:
            return most, most - best + _MARGIN
    if len(costs) > min_active:
        least = _smallest(costs, min_active)
        if least > limit:
            return least, least - best + _MARGIN
    else:
        return np.inf, np.inf
    return limit, beam


@numba.njit(cache=True)
def _search(states, arcs, start, scores, beam, max_active, min_active):  # pragma: no cover
    """Token passing.

    Returns:
        (state, cost) of each token; (source, target, label, word) and (graph, acoustic) of each
        link between tokens; (T + 1,) number of the first token before each frame, and behind the
        last one, whose links take no frame.
    """
    n_frames = len(scores)
    room = 1 << 14
    state, cost = np.empty(room, np.int32), np.empty(room, np.float64)
    l_room = 1 << 16
    source, target = np.empty(l_room, np.int32), np.empty(l_room, np.int32)
    label, word = np.empty(l_room, np.int32), np.empty(l_room, np.int32)
    graph, acoustic = np.empty(l_room, np.float32), np.empty(l_room, np.float32)
    # token of each state in the frame that is being made; -1: none
    token = np.full(len(states), -1, np.int32)
    frames = np.empty(n_frames + 1, np.int64)
    n = links = 0
    state[0], cost[0], token[start] = start, 0.0, 0
    n, frames[0], limit = 1, 0, np.inf
    for t in range(n_frames + 1):
        begin = frames[t]
        # Arcs without input, again from each token whose cost falls; then a link for each of them.
        queue = list(range(begin, n))
        while len(queue):
            here = queue.pop()
            row = states[state[here]]
            for a in range(row.first, row.first + row.arcs):
                arc = arcs[a]
                if arc.input:
                    continue
                value = cost[here] + arc.cost
                there = token[arc.target]
                if value > limit or (there >= 0 and value >= cost[there]):
                    continue
                if there < 0:
                    if n == len(state):
                        state, cost = grown(state), grown(cost)
                    there = n
                    state[n], token[arc.target] = arc.target, n
                    n += 1
                cost[there] = value
                queue.append(there)
        for here in range(begin, n):
            row = states[state[here]]
            for a in range(row.first, row.first + row.arcs):
                arc = arcs[a]
                there = token[arc.target]
                if arc.input or there < 0 or cost[here] + arc.cost > limit:
                    continue
                if links == len(source):
                    source, target = grown(source), grown(target)
                    label, word = grown(label), grown(word)
                    graph, acoustic = grown(graph), grown(acoustic)
                source[links], target[links] = here, there
                label[links], word[links] = 0, arc.output
                graph[links], acoustic[links] = arc.cost, 0.0
                links += 1
        for here in range(begin, n):
            token[state[here]] = -1
        if t == n_frames:
            break
        # Arcs that read the frame's scores, from the tokens that are good enough.
        frames[t + 1] = end = n
        if begin == end:
            limit = np.inf
            continue
        enough, width = _cutoff(cost[begin:end], beam, max_active, min_active)
        limit = np.inf
        best = begin + np.argmin(cost[begin:end])
        row = states[state[best]]
        for a in range(row.first, row.first + row.arcs):  # a first limit, by the best token
            if arcs[a].input:
                value = cost[best] + arcs[a].cost - scores[t, arcs[a].input - 1]
                limit = min(limit, value + width)
        for here in range(begin, end):
            if cost[here] >= enough:
                continue
            row = states[state[here]]
            for a in range(row.first, row.first + row.arcs):
                arc = arcs[a]
                if arc.input == 0:
                    continue
                own = -scores[t, arc.input - 1]
                value = cost[here] + arc.cost + own
                if value >= limit:
                    continue
                limit = min(limit, value + width)
                there = token[arc.target]
                if there < 0:
                    if n == len(state):
                        state, cost = grown(state), grown(cost)
                    there = n
                    state[n], token[arc.target], cost[n] = arc.target, n, value
                    n += 1
                elif value < cost[there]:
                    cost[there] = value
                if links == len(source):
                    source, target = grown(source), grown(target)
                    label, word = grown(label), grown(word)
                    graph, acoustic = grown(graph), grown(acoustic)
                source[links], target[links] = here, there
                label[links], word[links] = arc.input, arc.output
                graph[links], acoustic[links] = arc.cost, own
                links += 1
    return (
        (state[:n], cost[:n]),
        (source[:links], target[:links], label[:links], word[:links]),
        (graph[:links], acoustic[:links]),
        frames,
    )


@numba.njit(cache=True)
def _cost_to_end(source, target, costs, final, frames):  # pragma: no cover
    """(tokens,) cost of the best way from each token to an end.

    Links come frame by frame: those into a frame's tokens from the frame before, then those within
    the frame, which are gone over until nothing changes.
    """
    behind = final.copy()
    end = len(source)
    for t in range(len(frames) - 1, -1, -1):
        first = end
        while first and target[first - 1] >= frames[t]:
            first -= 1
        within = end
        while within > first and source[within - 1] >= frames[t]:
            within -= 1
        changed = True
        while changed:
            changed = False
            for k in range(end - 1, within - 1, -1):
                cost = costs[k] + behind[target[k]]
                if cost < behind[source[k]] - 1e-9:
                    behind[source[k]], changed = cost, True
        for k in range(within - 1, first - 1, -1):
            cost = costs[k] + behind[target[k]]
            behind[source[k]] = min(behind[source[k]], cost)
        end = first
    return behind
