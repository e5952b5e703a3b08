"""Reports of searches: what is shown, what is refused."""

import json

import pytest

from speechlm.decode.hypotheses import SearchReport
from speechlm.score.search_record import read_search, search_text, weights_line

WEIGHTS = {"lm_weight": 2.5, "word_score": -1, "blank_score": 2.0, "neural_weight": 0.5}


def write(folder, **changes):
    report = SearchReport(
        "graph",
        "ngram",
        WEIGHTS,
        utterances=2,
        audio_seconds=10.0,
        search_seconds=0.0123,
        unfinished=["b"],
    )
    report.write(folder)
    path = folder / "search.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def test_what_a_decoding_has_written_is_shown(tmp_path):
    report = read_search(write(tmp_path), ["a", "b"])
    assert weights_line(report) == "lm 2.5, word -1, blank 2, neural 0.5"
    text = search_text(report)
    assert "search: graph, language model: ngram\n" in text
    assert f"weights: {weights_line(report)}\n" in text
    assert "for a second of audio: 0.0012\n" in text
    assert "no final state: 1 (b)\n" in text and "without a frame: 0\n" in text


def test_greedy_decoding_has_no_weights():
    report = SearchReport("greedy", utterances=1, audio_seconds=10.0, search_seconds=1e-5)
    assert "weights" not in search_text(report) and weights_line(report) == ""
    assert "for a second of audio: 1e-06\n" in search_text(report)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"utterances": 3}, "the search of 2 utterances expected.* it is of 3"),
        ({"unfinished": ["c"]}, "names 1 utterances that are not scored: c"),
        ({"empty": ["c"]}, "names 1 utterances that are not scored: c"),
    ],
)
def test_reports_of_other_decodings_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=f"search.json.*{message}.*decode again"):
        read_search(write(tmp_path, **changes), ["a", "b"])


def test_a_file_that_is_no_report_is_named(tmp_path):
    (tmp_path / "search.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"search.json.*report of a search"):
        read_search(tmp_path / "search.json", ["a"])
    with pytest.raises(ValueError, match="weights.json: search.json of a decoding expected"):
        read_search(tmp_path / "weights.json", ["a"])
