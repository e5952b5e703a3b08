"""Records of searches: what is shown, what is refused."""

import json
from pathlib import Path

import pytest

from speechlm.score.search_record import SearchRecord, read_search, search_text

RECORD = {
    "search": "graph",
    "lm": "ngram",
    "weights": {"lm_weight": 2.5, "word_score": -1, "blank_score": 2.0},
    "beam": {"beam": 12.0},
    "graph": {"path": "exp/decoding_graph", "words": 3},
    "utterances": 2,
    "audio_seconds": 10.0,
    "search_seconds": 0.01,
    "real_time_factor": 0.001,
    "unfinished": ["b"],
    "empty": [],
}


def write(folder, **changes):
    path = folder / "search.json"
    path.write_text(json.dumps(RECORD | changes))
    return path


def test_all_values_are_kept_and_the_main_ones_shown(tmp_path):
    values = read_search(write(tmp_path), ["a", "b"])
    assert values == RECORD
    text = search_text(values, Path("x"))
    assert "search: graph, language model: ngram" in text
    assert "weights: lm 2.5, word -1, blank 2\n" in text
    assert "for a second of audio: 0.0010" in text
    assert "no final state: 1 (b)" in text and "without a frame: 0\n" in text


def test_greedy_decoding_has_neither_weights_nor_speed():
    record = SearchRecord.parse({"search": "greedy", "lm": "none", "weights": None}, "x")
    assert record.weights == {} and record.real_time_factor is None and record.unfinished == ()
    assert "weights" not in search_text({"search": "greedy", "lm": "none"}, Path("x"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": None}, "search: a word"),
        ({"lm": 3}, "lm: a word"),
        ({"weights": [2]}, "weights: numbers by name"),
        ({"weights": {"lm_weight": "2"}}, "weights: numbers by name"),
        ({"real_time_factor": "fast"}, "real_time_factor: a number"),
        ({"utterances": "two"}, "utterances: a number"),
        ({"unfinished": 3}, "unfinished: a list of utterances"),
        ({"empty": [1]}, "empty: a list of utterances"),
        ({"utterances": 3}, "the search of 2 utterances expected.* it is of 3"),
        ({"unfinished": ["c"]}, "names 1 utterances that are not scored: c"),
        ({"empty": ["c"]}, "names 1 utterances that are not scored: c"),
    ],
)
def test_damaged_or_foreign_records_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=f"search.json.*{message}.*decode again"):
        read_search(write(tmp_path, **changes), ["a", "b"])


def test_a_file_that_is_no_record_is_named(tmp_path):
    (tmp_path / "search.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"search.json.*record of a search"):
        read_search(tmp_path / "search.json", ["a"])
