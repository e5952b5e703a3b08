"""The graph search equals trying all sentences; weights at run time equal weights in the graph."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from speechlm.decode.ctc_search import LATTICE_BEAM, LN10, CTCSearch, Found, Weights
from speechlm.lm.ctc_graph import make_ctc_graph
from speechlm.lm.search import Beam
from speechlm.lm.spellings import read_spellings

SPEC = importlib.util.spec_from_file_location(
    "brute_force", Path(__file__).with_name("brute_force.py")
)
brute_force = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(brute_force)

WIDE = Beam(beam=1e4, max_active=10**6)


@pytest.fixture(scope="module", params=range(3))
def toy(request, tmp_path_factory):
    """(random numbers, word model, folder of its graph)."""
    folder, rng = tmp_path_factory.mktemp("toy"), np.random.default_rng(request.param)
    model = brute_force.RandomTrigram(rng, sorted({word for word, _ in brute_force.lexicon()}))
    (folder / "lexicon.lst").write_text(brute_force.LEXICON)
    model.write(folder / "lm.arpa")
    spellings = read_spellings(folder / "lexicon.lst")
    make_ctc_graph(spellings, folder / "lm.arpa", folder / "graph")
    return rng, model, folder / "graph"


def random_weights(rng):
    return Weights(rng.uniform(0.5, 3), rng.uniform(-2, 2), rng.uniform(-1, 2))


def test_best_sentence_and_list(toy):
    rng, model, graph = toy
    search, lengths = CTCSearch(graph, WIDE), []
    for frames in [1, 2, 3, 4, 5, 6, 7, 8, 9] * 3:
        emissions, weights = brute_force.random_emissions(rng, frames), random_weights(rng)
        wanted = brute_force.all_sentences(emissions, model.in_graph, weights)
        # the lattice keeps what is so near to the best one; the edge of that is left open
        behind = np.array([wanted[0][0] - total for total, *_ in wanted]) * LN10 / weights.lm_weight
        least = int((behind < LATTICE_BEAM - 0.1).sum())
        entries, complete = search.nbest(emissions, weights, len(wanted))
        # determinisation and minimisation count costs in 1024ths of a nat
        brute_force.assert_list(entries, wanted, weights, atol=0.01, least=least)
        assert complete
        assert search.decode(emissions, weights) == Found(wanted[0][3], complete=True)
        lengths.append(len(entries))
    assert max(lengths) > 30
