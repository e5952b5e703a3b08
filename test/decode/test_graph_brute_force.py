"""The graph search equals trying all sentences; weights at run time equal weights in the graph."""

import importlib.util
from pathlib import Path

import kaldifst
import numpy as np
import pytest

from speechlm.decode.ctc_search import LATTICE_BEAM, LN10, CTCSearch, Found, Weights
from speechlm.lm.ctc_graph import make_ctc_graph
from speechlm.lm.search import Beam, GraphSearch
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


def graph_with_weights(model, weights, folder):
    """A decoding graph, made without the package, that has the weights in its own costs.

    It reads columns 0 to V - 1, and has no label for the first frame of a `|`.
    """
    word_id = {word: n for n, word in enumerate(sorted({w for w, _ in brute_force.lexicon()}), 1)}
    symbols = brute_force.VOCABULARY.symbols
    grammar = kaldifst.compile(grammar_text(model, word_id, weights.lm_weight), acceptor=False)
    spellings, topology = [], []
    n_states = 1
    for word, spelling in brute_force.lexicon():
        for n, character in enumerate(spelling):
            target = 0 if character == "|" else n_states
            cost = -weights.word_score if n == 0 else 0.0
            label, output = symbols.index(character) + 1, word_id[word] if n == 0 else 0
            spellings.append(f"{n_states - 1 if n else 0} {target} {label} {output} {cost}")
            n_states += target > 0
    lexicon = kaldifst.compile("\n".join([*spellings, "0"]) + "\n", acceptor=False)
    used = [symbols.index(character) for character in "|AB"]
    for here, source in enumerate([0, *used]):
        topology.append(f"{here} 0 1 0 {weights.blank_score}")
        topology += [f"{here} {here} {source + 1} 0"] if here else []
        topology += [f"{here} {n} {c + 1} {c + 1}" for n, c in enumerate(used, 1) if c != source]
        topology.append(f"{here}")
    front = kaldifst.compile("\n".join(topology) + "\n", acceptor=False)
    kaldifst.arcsort(lexicon, "olabel")
    graph = kaldifst.compose(lexicon, grammar)
    kaldifst.arcsort(front, "olabel")
    kaldifst.arcsort(graph, "ilabel")
    graph = kaldifst.compose(front, graph)
    kaldifst.connect(graph)
    folder.mkdir()
    kaldifst.StdConstFst(graph).write(str(folder / "graph.fst"))
    (folder / "words.txt").write_text("".join(f"{w} {n}\n" for w, n in word_id.items()))
    return GraphSearch(folder)


def grammar_text(model, word_id, lm_weight):
    """The trigram model as a transducer, each cost its weight times -log10."""
    contexts = [("<s>",), ()] + [c for c in model.table if len(c) < 3 and c[-1] != "</s>"]
    number = {context: n for n, context in enumerate(dict.fromkeys(contexts))}
    lines = []
    for (*context, word), (log10, back_off) in model.table.items():
        here, cost = number[tuple(context)], -lm_weight * log10
        if word == "</s>":
            lines.append(f"{here} {cost}")
        elif word != "<s>":
            target = number[(*context, word)[-2:]]
            lines.append(f"{here} {target} {word_id[word]} {word_id[word]} {cost}")
        if (*context, word) in number:
            gram = (*context, word)
            lines.append(f"{number[gram]} {number[gram[1:]]} 0 0 {-lm_weight * back_off}")
    # the first line's state is the start
    lines.sort(key=lambda line: line.split()[0] != "0")
    return "\n".join(lines) + "\n"


def test_weights_at_run_time_equal_weights_in_the_graph(toy, tmp_path):
    rng, model, graph = toy
    search, different = CTCSearch(graph, WIDE), set()
    for n in range(8):
        weights = random_weights(rng)
        baked = graph_with_weights(model, weights, tmp_path / str(n))
        for frames in (8, 12, 20, 30):
            emissions = brute_force.random_emissions(rng, frames)
            found = search.decode(emissions, weights)
            words, complete = baked.decode(emissions, WIDE)
            assert found == Found(tuple(words), complete=True) and complete
            different.add(found == search.decode(emissions, Weights(1.0, 0.0, 0.0)))
    assert different == {False, True}  # the weights matter


def test_a_small_weight_of_the_word_model_does_not_narrow_the_search(tmp_path):
    """Costs grow as the weight falls; the beam keeps its width in nats of the network."""
    (tmp_path / "lexicon.lst").write_text(brute_force.LEXICON)
    words = sorted({word for word, _ in brute_force.lexicon()})
    brute_force.RandomTrigram(np.random.default_rng(0), words).write(tmp_path / "lm.arpa")
    spellings = read_spellings(tmp_path / "lexicon.lst")
    make_ctc_graph(spellings, tmp_path / "lm.arpa", tmp_path / "graph")
    search = CTCSearch(tmp_path / "graph", Beam(10.0))
    assert search.width(Weights(4.5)).beam == 10.0
    small = Weights(0.2, 0.0, 0.0)
    assert search.width(small).beam == pytest.approx(6 * np.log(10) / 0.2)
    wide, rng = CTCSearch(tmp_path / "graph", Beam(1000.0, 10_000)), np.random.default_rng(2)
    for _ in range(10):
        emissions = brute_force.random_emissions(rng, 12)
        found, complete = search.nbest(emissions, small, 1)
        assert complete and found[0].words == wide.decode(emissions, small).words
