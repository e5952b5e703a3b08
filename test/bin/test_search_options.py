"""Options of searches with a word model: which values hold, which do not go together."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

from speechlm.bin._cli import parser
from speechlm.bin._search import add_nbest, add_search, search_of
from speechlm.lm.ctc_graph import make_ctc_graph
from speechlm.lm.spellings import read_spellings

SPEC = importlib.util.spec_from_file_location(
    "brute_force", Path(__file__).parents[1] / "decode" / "brute_force.py"
)
brute_force = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(brute_force)

WORDS = sorted({word for word, _ in brute_force.lexicon()})
TUNED = {"lm_weight": 3.5, "word_score": 1.5, "blank_score": 2.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A graph, another n-gram of its words, and weights for each search."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "lexicon.lst").write_text(brute_force.LEXICON)
    for seed, name in enumerate(("lm.arpa", "other.arpa")):
        brute_force.RandomTrigram(np.random.default_rng(seed), WORDS).write(folder / name)
    make_ctc_graph(read_spellings(folder / "lexicon.lst"), folder / "lm.arpa", folder / "graph")
    beams = {"graph": {"beam": 9.5, "max_active": 700}, "flashlight": {"beam": 77}}
    for search, beam in beams.items():
        values = {**TUNED, "search": search, "beam": beam}
        (folder / f"{search}.json").write_text(json.dumps(values))
    return folder


@pytest.fixture
def search(folder):
    """Function: options as words -> (report, search with its weights)."""

    def find(*words):
        options = parser("")
        add_search(options)
        add_nbest(options, 1)
        known = {"other.arpa", "graph.json", "flashlight.json"}
        given = [str(folder / word) if word in known else word for word in words]
        return search_of(options.parse_args(["--graph", str(folder / "graph"), *given]))

    return find


FLASHLIGHT = ("--search", "flashlight")


@pytest.mark.parametrize(
    ("words", "weights", "beam"),
    [
        ((), (2, -1, 0), 10),
        (("--word_score", "4"), (2, 4, 0), 10),
        (("--tuned", "graph.json"), (3.5, 1.5, 2.5), 9.5),
        (("--tuned", "graph.json", "--blank_score", "0"), (3.5, 1.5, 0), 9.5),
        (("--tuned", "graph.json", "--search_beam", "8"), (3.5, 1.5, 2.5), 8),
        (FLASHLIGHT, (2, -1, 0), 500),
        ((*FLASHLIGHT, "--tuned", "flashlight.json"), (3.5, 1.5, 2.5), 77),
        ((*FLASHLIGHT, "--paper"), (2, -1, 0), 1500),
        ((*FLASHLIGHT, "--paper", "--beam_size", "60", "--lm_weight", "1"), (1, -1, 0), 60),
    ],
)
def test_given_values_come_before_tuned_ones_and_these_before_the_papers(
    search, words, weights, beam
):
    report, model = search(*words)
    assert tuple(report.weights.values()) == weights == tuple(vars(model.weights).values())
    assert report.beam["beam"] == beam


def test_flashlight_asks_another_ngram_in_place_of_the_graphs(search, folder):
    emissions = brute_force.random_emissions(np.random.default_rng(3), 7)
    scores = {}
    for name, more in (("lm.arpa", ()), ("other.arpa", ("--ngram", "other.arpa"))):
        report, model = search(*FLASHLIGHT, "--nbest", "9", *more)
        assert Path(report.graph["lm"]).name == name and report.lm == "ngram"
        assert ("sha256" in report.graph) == (not more)  # of the graph's n-gram
        (entry, *_), _ = model.search.nbest(emissions, model.weights, 9)
        trigram = brute_force.RandomTrigram(np.random.default_rng(len(scores)), WORDS)
        sentence = ["<s>", *entry.words, "</s>"]
        expected = sum(
            trigram.word(tuple(sentence[max(0, n - 2) : n]), sentence[n])
            for n in range(1, len(sentence))
        )
        assert math.isclose(entry.ngram, expected, abs_tol=1e-3)
        scores[name] = entry.ngram
    assert len(set(scores.values())) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--paper",), "--paper is for --search flashlight"),
        (("--ngram", "other.arpa"), "--ngram is for --search flashlight"),
        (("--neural_lm", "x"), "--neural_lm is for --search flashlight"),
        (("--beam_size", "9"), "--beam_size is for --search flashlight, and this is graph"),
        ((*FLASHLIGHT, "--max_active", "9"), "--max_active is for --search graph"),
        ((*FLASHLIGHT, "--ngram", "x", "--neural_lm", "y"), "asks one model"),
        ((*FLASHLIGHT, "--paper", "--tuned", "flashlight.json"), "no --tuned beside it"),
        ((*FLASHLIGHT, "--tuned", "graph.json"), "was tuned with --search graph"),
    ],
)
def test_options_that_do_not_go_together_are_refused(search, words, message):
    with pytest.raises(ValueError, match=message):
        search(*words)
