"""The best word sequences of a lattice, against all its paths."""

import dataclasses
import itertools

import numpy as np
import pytest

from speechlm.lm.lattice import Lattice, best_sequences, ordered


def random_lattice(seed, states=9, labels=3):
    """A lattice whose paths can be listed: arcs go up, at most two between states."""
    rng = np.random.default_rng(seed)
    arcs = [
        (s, t, int(rng.integers(0, 3)), int(rng.integers(0, labels)), *rng.uniform(0, 2, 2))
        for s, t in itertools.combinations(range(states), 2)
        for _ in range(rng.integers(0, 3))
    ]
    final = np.where(rng.random(states) < 0.3, rng.uniform(0, 1, states), np.inf)
    final[-1] = 0.5
    columns = list(zip(*arcs, strict=True))
    numbers = [np.array(c, np.int32) for c in columns[:4]]
    return Lattice(*numbers, *(np.array(c) for c in columns[4:]), final, True)


def all_paths(lattice):
    """{words: (graph cost, acoustic cost, labels) of the best path}, by enumeration."""
    found = {}

    def follow(state, words, labels, graph, acoustic):
        if lattice.final[state] < np.inf:
            cost = graph + lattice.final[state]
            if words not in found or cost + acoustic < sum(found[words][:2]):
                found[words] = (cost, acoustic, labels)
        for a in np.flatnonzero(lattice.source == state):
            word, label = int(lattice.word[a]), int(lattice.label[a])
            follow(
                lattice.target[a],
                words + ((word,) if word else ()),
                labels + ((label,) if label else ()),
                graph + lattice.graph[a],
                acoustic + lattice.acoustic[a],
            )

    follow(0, (), (), 0.0, 0.0)
    return found


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("n", "beam"), [(1, 1e9), (5, 1e9), (1000, 1e9), (1000, 1.5)])
def test_equals_the_list_of_all_paths(seed, n, beam):
    lattice = random_lattice(seed)
    expected = all_paths(lattice)
    best = min(sum(e[:2]) for e in expected.values())
    ranked = sorted(expected, key=lambda words: sum(expected[words][:2]))
    ranked = [w for w in ranked if sum(expected[w][:2]) <= best + beam][:n]
    found = best_sequences(lattice, n, beam)
    assert [path.words for path in found] == ranked
    for path in found:
        graph, acoustic, labels = expected[path.words]
        assert path.cost == pytest.approx(graph + acoustic)
        assert (path.graph, path.acoustic) == pytest.approx((graph, acoustic))
        assert tuple(path.labels) == labels


def test_states_in_any_order():
    """States as a search leaves them, not in the order of the paths."""
    arcs = [(2, 0, 3, 7, 0.5, 1.25), (2, 3, 4, 8, 1.0, 0.0), (0, 3, 0, 0, 0.0, 0.0)]
    arcs.append((3, 1, 5, 9, 0.25, 2.0))
    source, target, label, word = (np.array(c, np.int32) for c in list(zip(*arcs, strict=True))[:4])
    graph, acoustic = (np.array(c) for c in list(zip(*arcs, strict=True))[4:])
    final = np.array([np.inf, 0.5, np.inf, np.inf])
    values = {"label": label, "word": word, "graph": graph, "acoustic": acoustic}
    lattice = ordered(source, target, final, 2, True, **values)
    assert (lattice.source < lattice.target).all() and (np.diff(lattice.source) >= 0).all()
    found = best_sequences(lattice, 10, 1e9)
    assert [(p.words, p.labels.tolist(), p.graph, p.acoustic) for p in found] == [
        ((8, 9), [4, 5], 1.75, 2.0),
        ((7, 9), [3, 5], 1.25, 3.25),
    ]


def test_nothing_to_find():
    lattice = random_lattice(1)
    assert best_sequences(lattice, 0, 1e9) == []
    dead = dataclasses.replace(lattice, final=np.full(len(lattice.final), np.inf))
    assert best_sequences(dead, 5, np.inf) == []
    none = np.zeros(0, np.int32)
    assert best_sequences(Lattice(*[none] * 4, *[np.zeros(0)] * 3, True), 5, 1.0) == []
