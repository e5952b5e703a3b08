"""The search that keeps lattices, against kaldi-decoder's search of the best path."""

import kaldifst
import numpy as np
import pytest

from speechlm.lm.graph_arrays import GraphArrays
from speechlm.lm.lattice import best_sequences
from speechlm.lm.lattice_search import _smallest, search_lattice
from speechlm.lm.search import Beam, GraphSearch

COLUMNS, STATES = 6, 40


@pytest.fixture(scope="module", params=range(4))
def graph(request, tmp_path_factory):
    """A random graph with arcs that take no frame (going up), some of them with gains."""
    rng = np.random.default_rng(request.param)
    lines = []
    for state in range(STATES):
        for _ in range(4):
            word = int(rng.integers(0, 9)) if rng.random() < 0.3 else 0
            arc = (state, rng.integers(STATES), rng.integers(1, COLUMNS + 1), word)
            lines.append(f"{arc[0]} {arc[1]} {arc[2]} {arc[3]} {rng.uniform(0, 3):.3f}")
        if state < STATES - 1 and rng.random() < 0.6:
            target = rng.integers(state + 1, STATES)
            lines.append(f"{state} {target} 0 {rng.integers(0, 9)} {rng.uniform(-0.5, 1):.3f}")
        if rng.random() < 0.2:
            lines.append(f"{state} {rng.uniform(0, 1):.3f}")
    folder = tmp_path_factory.mktemp("graph")
    fst = kaldifst.compile("\n".join(lines) + "\n", acceptor=False)
    kaldifst.StdConstFst(fst).write(str(folder / "graph.fst"))
    (folder / "words.txt").write_text("".join(f"W{n} {n}\n" for n in range(1, 9)))
    return folder


def test_the_arrays_are_the_graph(graph):
    arrays, fst = (
        GraphArrays.read(graph / "graph.fst"),
        kaldifst.StdConstFst.read(str(graph / "graph.fst")),
    )
    assert arrays.start == fst.start and len(arrays.states) == STATES
    for state in range(STATES):
        row = arrays.states[state]
        theirs = [
            (a.ilabel, a.olabel, a.weight.value, a.nextstate)
            for a in kaldifst.ArcIterator(fst, state)
        ]
        ours = arrays.arcs[row["first"] : row["first"] + row["arcs"]]
        assert np.array(ours.tolist()) == pytest.approx(np.array(theirs))
        assert float(row["final"]) == fst.final(state).value


@pytest.mark.parametrize(
    ("beam", "share"),
    [(Beam(50.0, 1000), 1.0), (Beam(6.0, 1000, 5), 1.0), (Beam(50.0, 12, 3), 0.6)],
)
@pytest.mark.parametrize("frames", [1, 2, 15])
def test_the_best_path_is_that_of_kaldis_search(graph, beam, share, frames):
    """Of a few states a frame the two keep others now and then; neither finds better paths."""
    search, arrays = GraphSearch(graph), GraphArrays.read(graph / "graph.fst")
    rng = np.random.default_rng(frames)
    compared = same = 0
    for _ in range(20):
        scores = rng.normal(0, 2, (frames, COLUMNS)).astype(np.float32)
        words, complete = search.decode(scores, beam)
        lattice = search_lattice(arrays, scores, beam, 20.0)
        best, *others = best_sequences(lattice, 50, 20.0)
        found = [f"W{label}" for label in best.words]
        same += (found, lattice.complete) == (words, complete)
        assert len(best.labels) == frames
        # the cost of the scores along the path is the lattice's
        along = scores[np.arange(frames), best.labels - 1].astype(np.float64).sum()
        assert best.acoustic == pytest.approx(-along, abs=1e-4)
        assert all(best.cost <= path.cost <= best.cost + 20.0 for path in others)
        compared += len(others)
    assert same >= share * 20
    assert compared > 20 or frames < 15


def test_no_frames_and_no_path(graph, tmp_path):
    arrays = GraphArrays.read(graph / "graph.fst")
    assert search_lattice(arrays, np.zeros((0, COLUMNS), np.float32), Beam(), 8.0) is None
    fst = kaldifst.compile("0 1 1 1 0\n1\n", acceptor=False)
    kaldifst.StdConstFst(fst).write(str(tmp_path / "graph.fst"))
    short = GraphArrays.read(tmp_path / "graph.fst")
    assert search_lattice(short, np.zeros((1, COLUMNS), np.float32), Beam(), 8.0).complete
    assert search_lattice(short, np.zeros((3, COLUMNS), np.float32), Beam(), 8.0) is None


def test_other_files_are_refused(tmp_path):
    (tmp_path / "graph.fst").write_bytes(b"no graph at all, but long enough to be looked at")
    with pytest.raises(ValueError, match="graph.fst"):
        GraphArrays.read(tmp_path / "graph.fst")
    fst = kaldifst.compile("0 1 1 1 0\n1\n", acceptor=False)
    fst.write(str(tmp_path / "graph.fst"))
    with pytest.raises(ValueError, match="constant transducer expected"):
        GraphArrays.read(tmp_path / "graph.fst")


@pytest.mark.parametrize("seed", range(5))
def test_the_value_at_a_place_of_the_sorted_ones(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 20, rng.integers(1, 200)).astype(float)  # many are equal
    ranked, before = np.sort(values), values.copy()
    assert [_smallest(values, k) for k in range(len(values))] == ranked.tolist()
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("place", ["target", "first", "start"])
def test_arcs_that_lead_outside_are_refused(graph, place):
    """No search looks whether a state is there: it would read what is behind the last one."""
    arrays = GraphArrays.read(graph / "graph.fst")
    states, arcs = np.array(arrays.states), np.array(arrays.arcs)
    arrays.check()
    if place == "target":
        arcs["target"][3] = len(states)
    elif place == "first":
        states["first"][2] = len(arcs)
    start = len(states) if place == "start" else arrays.start
    with pytest.raises(ValueError, match="outside"):
        GraphArrays(start, states, arcs).check()
