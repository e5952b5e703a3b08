"""Forced alignment against every path of small graphs."""

import itertools

import numpy as np
import pytest

from speechlm.data.vocabulary import phone_id
from speechlm.recognizer.topology import N_PDFS, PHONES, SILENCE_ID, positioned
from speechlm.recognizer.utterance_graph import (
    Hmm,
    initial_hmm,
    read_pronunciations,
    utterance_graph,
)
from speechlm.recognizer.viterbi import best_path

PRON = {"A": [positioned(["AH0"]), positioned(["EY1"])], "CAT": [positioned(["K", "AE1", "T"])]}


def brute_force(graph, emission):
    """Best score over all state sequences, arcs looked up one by one."""
    best, best_path_ = -np.inf, None
    arcs = {}
    for s in range(len(graph.pdf)):
        for a in range(graph.arc_start[s], graph.arc_start[s + 1]):
            arcs[int(graph.arc_from[a]), s] = float(graph.arc_cost[a])
        arcs[s, s] = float(graph.loop[s])
    for path in itertools.product(range(len(graph.pdf)), repeat=len(emission)):
        steps = list(zip((-1, *path[:-1]), path, strict=True))
        if any(step not in arcs for step in steps) or graph.final[path[-1]] < -1e20:
            continue
        score = sum(arcs[s] for s in steps) + graph.final[path[-1]]
        score += sum(emission[t, graph.pdf[s]] for t, s in enumerate(path))
        if score > best:
            best, best_path_ = score, path
    return best, best_path_


@pytest.mark.parametrize("seed", range(4))
def test_best_path_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    hmm = initial_hmm([["A"]], PRON)
    stay, leave = np.log(rng.uniform(0.3, 0.7, (2, N_PDFS)))
    hmm = Hmm(hmm.classes, stay, leave)
    graph = utterance_graph(["A"], {"A": PRON["A"][:1]}, hmm)
    emission = rng.normal(0, 3, (5, N_PDFS)).astype(np.float32)
    score, path = best_path(graph, emission)
    expected, expected_path = brute_force(graph, emission)
    assert score == pytest.approx(expected, abs=1e-3)
    assert tuple(path) == expected_path


def ideal(graph_phones, hmm, repeat=2):
    """Emissions that favour the given phones, `repeat` frames a state."""
    pdfs = np.repeat([pdf for p in graph_phones for pdf in hmm.pdfs(p)], repeat)
    emission = np.full((len(pdfs), N_PDFS), -20.0, np.float32)
    emission[np.arange(len(pdfs)), pdfs] = 0.0
    return emission


@pytest.mark.parametrize("variant", [0, 1])
@pytest.mark.parametrize("pause", [False, True])
def test_variant_and_pause_follow_the_sound(variant, pause):
    hmm = initial_hmm([["A", "CAT"]], PRON)
    phones = list(PRON["A"][variant]) + [SILENCE_ID] * pause + list(PRON["CAT"][0])
    graph = utterance_graph(["A", "CAT"], PRON, hmm)
    _, path = best_path(graph, ideal(phones, hmm))
    assert graph.phone[path].tolist() == [p for p in phones for _ in range(6)]


def test_short_pause_of_one_frame():
    hmm = initial_hmm([["A", "CAT"]], PRON)
    before = ideal(PRON["A"][0], hmm)
    after = ideal(PRON["CAT"][0], hmm)
    gap = np.full((1, N_PDFS), -20.0, np.float32)
    gap[0, hmm.pdfs(SILENCE_ID)[1]] = 0.0
    graph = utterance_graph(["A", "CAT"], PRON, hmm)
    _, path = best_path(graph, np.concatenate([before, gap, after]))
    assert (graph.phone[path] == SILENCE_ID).nonzero()[0].tolist() == [6]


def test_failures_name_what_is_wrong(tmp_path):
    hmm = initial_hmm([["CAT"]], PRON)
    with pytest.raises(ValueError, match="not in the lexicon: DOG ZEBRA"):
        utterance_graph(["ZEBRA", "CAT", "DOG"], PRON, hmm)
    with pytest.raises(ValueError, match="5 frames are too few"):
        best_path(utterance_graph(["CAT"], PRON, hmm), np.zeros((5, N_PDFS), np.float32))
    (tmp_path / "lexicon.txt").write_text("CAT K AE1 T\nCAT K AE1 QQ\n")
    with pytest.raises(ValueError, match="(?s)lexicon.txt.*line 2: word 'CAT'.*QQ"):
        read_pronunciations(tmp_path / "lexicon.txt")


def test_positions_and_stress():
    assert [PHONES[p] for p in positioned(["K", "AE1", "T"])] == ["K_B", "AE1_I", "T_E"]
    assert positioned(["AH0"]) == (phone_id["AH0_S"],)


def test_unstressed_vowels_get_states_only_with_data():
    few = initial_hmm([["A"]] * 10, PRON)
    many = initial_hmm([["A"]] * 200, PRON)
    stressed, reduced = phone_id["AH1_S"], phone_id["AH0_S"]
    assert few.classes[stressed] == few.classes[reduced]
    assert many.classes[stressed] != many.classes[reduced]
