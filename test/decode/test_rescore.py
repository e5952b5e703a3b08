"""Rescoring: totals by hand, order, jobs, columns; weights tuned on lists; what is refused."""

import json
import logging
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest

from speechlm.bin import _rescoring
from speechlm.decode import rescore, rescore_tuning
from speechlm.decode.hypotheses import (
    SearchReport,
    Sentence,
    merge_hypotheses,
    read_nbest,
    write_hypotheses,
    write_nbest,
)
from speechlm.decode.rescore import LN10, Rescorer, RescoringWeights, add_scores, as_lists
from speechlm.decode.rescore_tuning import ListErrors, tune_rescoring

SEARCH = RescoringWeights(2.5, 0.0, -1.5)
"""Weights of the search that has made the lists."""


class Scores:
    """A language model with any score for each sentence; words that begin with X are unknown."""

    def __init__(self, scores=None):
        self.scores, self.asked = scores or {}, []

    def sentence_scores(self, sentences):
        self.asked += sentences
        noise = (zlib.crc32(text.encode()) % 1000 / 100 for text in sentences)
        return np.array(
            [self.scores.get(t, -n - 2.0) for t, n in zip(sentences, noise, strict=True)]
        )

    def unknown_words(self, sentences):
        return sum(word.startswith("X") for text in sentences for word in text.split())


def neural(scores=None):
    return Rescorer(Scores(scores), "neural", "transformer", "exp/lm")


def ngram(scores=None):
    return Rescorer(Scores(scores), "ngram", "ngram4", "lm.arpa")


def sentence(text, acoustic, log10, neural_score=None):
    total = acoustic + 2.5 * log10 - 1.5 * len(text.split())
    return Sentence(text, total, acoustic, log10, neural_score)


def random_lists(seed, utterances=12, words=("A", "B", "C", "D", "X")):
    """Lists of 0 to 9 sentences, as a search leaves them: sorted by its totals, none twice."""
    rng = np.random.default_rng(seed)
    lists = {}
    for n in range(utterances):
        texts = {" ".join(rng.choice(words, rng.integers(0, 6))) for _ in range(n % 10)}
        found = [sentence(t, *rng.uniform(-20, -1, 2).round(4)) for t in sorted(texts)]
        lists[f"u{n:02}"] = sorted(found, key=lambda entry: -entry.total)
    return lists


def write_decoding(folder, lists, weights=None, **more):
    text = {u: entries[0].text if entries else "KEPT" for u, entries in lists.items()}
    write_hypotheses(folder / "text", text)
    write_nbest(folder / "nbest.tsv", lists)
    weights = weights or {"lm_weight": 2.5, "word_score": -1.5, "blank_score": 2.0}
    SearchReport(
        *("graph", "ngram", weights, {"beam": 12.0}, {"lm": "lm.arpa"}),
        **{"utterances": len(lists), "audio_seconds": float(len(lists)), "search_seconds": 2.0},
        **more,
    ).write(folder)
    return folder


def test_a_model_of_other_words_is_refused():
    """As one in lower case: all its scores would be those of <unk>."""
    known = as_lists({"a": [sentence("TO X ON", -1.0, -1.0)]}, ["a"], "here")
    assert add_scores(known, neural()) == 1
    other = as_lists({"a": [sentence("TO X XX", -1.0, -1.0)]}, ["a"], "here")
    with pytest.raises(ValueError, match="exp/lm does not know 2 of 3 words.*'TO X XX'.*writing"):
        add_scores(other, neural())


def test_totals_are_those_by_hand(tmp_path):
    lists = {
        "a": [sentence("TO X", -10.0, -2.0), sentence("TWO", -10.5, -2.5), sentence("", -30, -1)],
        "b": [sentence("ON", -7.0, -1.0)],
    }
    folder = write_decoding(tmp_path / "in", lists)
    model = neural({"TO X": -9.0, "TWO": -3.0, "": -1.0, "ON": -4.0})
    weights = RescoringWeights(1.5, 0.8, -0.5)
    rescore.rescore_set(folder, model, weights, tmp_path / "out")
    found = read_nbest(tmp_path / "out" / "nbest.tsv")
    totals = [
        ("TWO", -10.5 + 1.5 * -2.5 + 0.8 * -3.0 - 0.5),
        ("TO X", -10.0 + 1.5 * -2.0 + 0.8 * -9.0 - 0.5 * 2),
        ("", -30 + 1.5 * -1 + 0.8 * -1.0),
    ]
    assert [entry.text for entry in found["a"]] == [text for text, _ in totals]
    assert [entry.total for entry in found["a"]] == pytest.approx([total for _, total in totals])
    assert found["a"][1] == Sentence("TO X", pytest.approx(-21.2), -10.0, -2.0, -9.0)
    assert (tmp_path / "out" / "text").read_text() == "a TWO\nb ON\n"


def test_a_larger_ngram_takes_the_place_of_the_searchs(tmp_path):
    lists = {"a": [sentence("TO", -10.0, -2.0), sentence("TWO", -10.5, -2.5)]}
    folder = write_decoding(tmp_path / "in", lists)
    model = ngram({"TO": -3.0 * LN10, "TWO": -1.0 * LN10})
    weights = RescoringWeights(2.0, 0.0, -1.0, replaced_weight=0.5)
    report = rescore.rescore_set(folder, model, weights, tmp_path / "out")
    entries = read_nbest(tmp_path / "out" / "nbest.tsv")["a"]
    assert entries[0] == Sentence("TWO", -10.5 - 2.0 - 1.25 - 1.0, -10.5, -1.0, None)
    assert entries[1] == Sentence("TO", -10.0 - 6.0 - 1.0 - 1.0, -10.0, -3.0, None)
    assert report.lm == "ngram4" and report.graph["rescored_by"] == "lm.arpa"
    # and a Transformer after it: the larger n-gram's column is there
    rescore.rescore_set(tmp_path / "out", neural(), RescoringWeights(2, 1, -1), tmp_path / "two")
    assert [e.ngram for e in read_nbest(tmp_path / "two" / "nbest.tsv")["a"]] == [-1.0, -3.0]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("make", [neural, ngram])
def test_without_weight_the_order_is_the_old_one(seed, make):
    lists = random_lists(seed)
    arrays, model = as_lists(lists, sorted(lists), "nbest.tsv"), make()
    add_scores(arrays, model)
    weights = rescore_tuning.order_of_before(model, SEARCH)
    found = rescore.ranked(arrays, arrays.totals(weights))
    assert {u: [e.text for e in entries] for u, entries in found.items()} == {
        u: [e.text for e in entries] for u, entries in lists.items() if entries
    }
    listed, best = arrays.best(weights)
    assert [arrays.ids[n] for n in listed] == [u for u, entries in lists.items() if entries]
    assert [arrays.texts[n] for n in best] == [e[0].text for e in lists.values() if e]


@pytest.mark.parametrize("seed", range(5))
def test_the_best_is_the_first_of_the_sorted(seed):
    lists = random_lists(seed)
    arrays = as_lists(lists, sorted(lists), "nbest.tsv")
    add_scores(arrays, neural())
    for weights in (RescoringWeights(0.5, 1.5, 2.0), RescoringWeights(0, 0, 0)):
        found = rescore.ranked(arrays, arrays.totals(weights))
        best = [arrays.texts[n] for n in arrays.best(weights)[1]]
        assert best == [entries[0].text for entries in found.values()]


def test_equally_good_sentences_stay_in_their_order():
    lists = {"a": [sentence(text, -1.0, -1.0) for text in ["D", "B", "C", "A"]]}
    arrays = as_lists(lists, ["a"], "")
    assert arrays.texts[arrays.best(SEARCH)[1][0]] == "D"
    assert [e.text for e in rescore.ranked(arrays, arrays.totals(SEARCH))["a"]] == [
        "D",
        "B",
        "C",
        "A",
    ]


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_batches_and_doubles_change_nothing(monkeypatch, at_once):
    lists = random_lists(3)
    arrays, model = as_lists(lists, sorted(lists), ""), neural()
    monkeypatch.setattr(rescore, "AT_ONCE", at_once)
    add_scores(arrays, model)
    alone = [Scores().sentence_scores([text])[0] for text in arrays.texts]
    assert arrays.parts[:, 1].tolist() == alone
    assert sorted(model.scorer.asked) == sorted(set(arrays.texts)) != sorted(arrays.texts)


def data_dir(folder, ids):
    folder.mkdir(parents=True)
    for name, value in (("wav.scp", "{}.flac"), ("utt2spk", "{}"), ("utt2num_samples", "16000")):
        (folder / name).write_text("".join(f"{u} {value.format(u)}\n" for u in ids))
    return folder


def test_jobs_give_what_one_gives(tmp_path, run_main, monkeypatch):
    lists = random_lists(1)
    folder = write_decoding(tmp_path / "in", lists, unfinished=["u01", "u09"], empty=["u00"])
    monkeypatch.setattr(_rescoring, "rescorer_of", lambda args: neural())
    tuned = {"ngram_weight": 1.0, "neural_weight": 0.7, "word_score": 0.1, "replaced_weight": 0}
    tuned |= {"column": "neural", "lm": "exp/lm", "blank_score": 2.0}
    (tmp_path / "weights.json").write_text(json.dumps(tuned))
    common = ("--nbest", folder, "--lm", "x", "--tuned", tmp_path / "weights.json", "--output")
    assert run_main("rescore", *common, tmp_path / "whole").returncode == 0
    parts = [sorted(lists)[:7], sorted(lists)[7:]]
    for n, ids in enumerate(parts):
        data = data_dir(tmp_path / "data" / str(n), ids)
        done = run_main("rescore", *common, tmp_path / "parts" / str(n), "--data_dir", data)
        assert done.returncode == 0, done.stderr
    merge_hypotheses([str(tmp_path / "parts" / str(n)) for n in range(2)], tmp_path / "parts")
    for name in ("text", "nbest.tsv"):
        assert (tmp_path / "parts" / name).read_text() == (tmp_path / "whole" / name).read_text()
    whole, joined = (SearchReport.read(tmp_path / name) for name in ("whole", "parts"))
    assert joined.unfinished == whole.unfinished == ["u01", "u09"]
    assert joined.empty == whole.empty == ["u00"]
    assert joined.unlisted == whole.unlisted == ["u00", "u10"]
    assert joined.utterances == whole.utterances == 12
    assert joined.audio_seconds == whole.audio_seconds == 12.0
    for report in (joined, whole):
        assert report.weights == {k: tuned[k] for k in report.weights} and report.unknown_words
        assert 2.0 < report.search_seconds < 4.0
    assert "u00 KEPT" in (tmp_path / "whole" / "text").read_text()


# Tuning


def tuning_lists(rng, utterances=60, n=8):
    """Lists in which the search's order is poor; sentences, references."""
    lists, references = {}, {}
    for u in range(utterances):
        words = list(rng.choice(list("ABCDEFGH"), 6))
        texts = {" ".join(words)}
        while len(texts) < n:
            other = list(words)
            for place in rng.choice(6, rng.integers(1, 4), replace=False):
                other[place] = rng.choice(list("ABCDEFGH"))
            texts.add(" ".join(other))
        entries = [sentence(text, *rng.uniform(-6, -4, 2).round(4)) for text in sorted(texts)]
        lists[f"u{u:03}"] = sorted(entries, key=lambda entry: -entry.total)
        references[f"u{u:03}"] = " ".join(words)
    return lists, references


@pytest.mark.parametrize("make", [neural, ngram])
def test_weights_of_a_model_that_knows_are_found(make, caplog):
    caplog.set_level(logging.INFO)
    rng = np.random.default_rng(2)
    lists, references = tuning_lists(rng)
    right = set(references.values())
    known = {
        e.text: -float(rng.uniform(8, 12)) - 12 * (e.text not in right)
        for entries in lists.values()
        for e in entries
    }
    arrays, model = as_lists(lists, sorted(lists), ""), make(known)
    add_scores(arrays, model)
    found = tune_rescoring(arrays, references, model, SEARCH)
    assert found.source == "tuned" and found.before.wer > 20
    assert found.points[found.weights].wer < 1.0
    assert found.points[found.weights].wer == min(o.wer for o in found.points.values())
    assert "of the best sentence of each list 0.00 %" in caplog.text
    vectors = np.array([w.vector() for w in found.points])
    assert (vectors[:, [0, 1, 3]] >= 0).all()


@pytest.mark.parametrize("make", [neural, ngram])
def test_lists_of_a_search_with_a_neural_model_are_rescored(make, tmp_path):
    lists, references = tuning_lists(np.random.default_rng(2))
    fused = {
        u: [replace(e, ngram=None, neural=LN10 * e.ngram) for e in entries]
        for u, entries in lists.items()
    }
    weights = {"lm_weight": 2.5, "word_score": -1.5, "blank_score": 2.0}
    SearchReport("flashlight", "transformer", weights).write(tmp_path)
    search = rescore.search_weights(SearchReport.read(tmp_path), tmp_path)
    assert search.vector().tolist() == pytest.approx([0.0, 2.5 / LN10, -1.5, 0.0])
    right = set(references.values())
    scores = {e.text: -12.0 * (e.text not in right) - 8 for es in lists.values() for e in es}
    arrays, model = as_lists(fused, sorted(fused), ""), make(scores)
    # the search's order is that of its totals
    totals = [e.total for u in sorted(fused) for e in fused[u]]
    assert arrays.totals(search).tolist() == pytest.approx(totals)
    add_scores(arrays, model)
    found = tune_rescoring(arrays, references, model, search)
    assert found.before.wer > 20 and found.points[found.weights].wer < 1.0


def test_a_model_that_knows_nothing_does_no_harm():
    rng = np.random.default_rng(4)
    lists, references = tuning_lists(rng)
    arrays, model = as_lists(lists, sorted(lists), ""), neural()
    add_scores(arrays, model)
    found = tune_rescoring(arrays, references, model, SEARCH)
    assert found.points[found.weights].errors <= found.before.errors


def test_errors_of_lists_are_those_of_their_best_sentences():
    lists = {
        "a": [sentence("A B C", -1, -1), sentence("A C", -3, -1)],
        "b": [],
        "c": [sentence("", -1, -1)],
    }
    errors = ListErrors(as_lists(lists, ["a", "b", "c"], ""), {"a": "A C D", "b": "A B", "c": ""})
    assert errors(SEARCH) == 2 + 2 and errors.points[SEARCH].row() == (0, 3, 1)
    other = replace(SEARCH, word_score=-5.0)
    assert errors(other) == 1 + 2 and errors.points[other].wer == pytest.approx(60.0)
    assert errors.oracle() == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("make", "expected"), [(neural, RescoringWeights(0.0, 0.9, -0.31)), (ngram, SEARCH)]
)
def test_too_few_words_leave_weights_untuned(make, expected, caplog):
    lists = {"a": [sentence("A B", -1, -1)]}
    arrays, model = as_lists(lists, ["a"], ""), make()
    add_scores(arrays, model)
    found = tune_rescoring(arrays, {"a": "A B"}, model, SEARCH)
    assert found.weights == expected and not found.points
    assert "2 words of references" in caplog.text and "are taken" in caplog.text


opened = []
"""Files that are opened while a list is here."""


def _note(event, arguments):
    if opened and event == "open":
        opened[0].append(str(arguments[0]))


def test_programs_tune_on_dev_alone(tmp_path, run_main, monkeypatch):
    rng = np.random.default_rng(7)
    lists, references = tuning_lists(rng)
    write_decoding(tmp_path / "decode_dev", lists)
    write_decoding(tmp_path / "decode_test", lists)
    (tmp_path / "text").write_text("".join(f"{u} {t}\n" for u, t in references.items()))
    monkeypatch.setattr(_rescoring, "rescorer_of", lambda args: neural())
    sys.addaudithook(_note)
    opened.append([])
    done = run_main(
        "tune_rescoring",
        *("--nbest", tmp_path / "decode_dev", "--ref", tmp_path / "text", "--lm", "x"),
        *("--output", tmp_path / "tuned"),
    )
    files = opened.pop()
    assert done.returncode == 0, done.stderr
    read = [name for name in files if str(tmp_path) in name]
    assert any("decode_dev" in name for name in read)
    assert not any("test" in name.removeprefix(str(tmp_path)) for name in read)
    values = json.loads((tmp_path / "tuned" / "weights.json").read_text())
    rows = (tmp_path / "tuned" / "grid.tsv").read_text().splitlines()
    assert len(rows) == values["points"] + 1 and values["wer"] <= values["wer_before"]
    assert rows[0].startswith("ngram_weight\tneural_weight\tword_score\treplaced_weight\twer")
    assert "ln P" in values["unit"]
    done = run_main(
        "rescore",
        *("--nbest", tmp_path / "decode_dev", "--lm", "x", "--output", tmp_path / "out"),
        *("--tuned", tmp_path / "tuned" / "weights.json"),
    )
    assert done.returncode == 0, done.stderr
    text = dict(line.split(" ", 1) for line in (tmp_path / "out" / "text").read_text().splitlines())
    weights = rescore.read_rescoring(tmp_path / "tuned" / "weights.json")[0]
    arrays = as_lists(lists, sorted(lists), "")
    add_scores(arrays, neural())
    assert text == {u: e[0].text for u, e in rescore.ranked(arrays, arrays.totals(weights)).items()}


# What is refused


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_scores_that_are_not_finite_are_refused(value):
    arrays = as_lists({"a": [sentence("A B", -1, -1)]}, ["a"], "")
    with pytest.raises(ValueError, match="exp/lm: finite scores expected, got .* for 'A B'"):
        add_scores(arrays, neural({"A B": value}))


def test_half_filled_columns_are_refused():
    lists = {"a": [sentence("A", -1, -1), sentence("B", -1, -1, -3.0)]}
    with pytest.raises(ValueError, match="1 of 2 sentences have a score in column neural"):
        as_lists(lists, ["a"], "nbest.tsv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"column": "ngram", "lm": "big.arpa"}, "for scores of kind neural expected.*big.arpa"),
        ({"blank_score": 1.0}, "blank_score 1.0, but these have 2.0"),
        ({"blank_score": None}, "blank_score None, but these have 2.0"),
    ],
)
def test_weights_of_other_lists_are_refused(tmp_path, change, message):
    report = SearchReport.read(write_decoding(tmp_path, {}))
    tuned = {"column": "neural", "lm": "exp/lm", "blank_score": 2.0}
    rescore.check_tuned_for(tuned, neural(), report, "weights.json")
    with pytest.raises(ValueError, match=message):
        rescore.check_tuned_for(tuned | change, neural(), report, "weights.json")


def test_greedy_decodings_are_refused(tmp_path):
    write_hypotheses(tmp_path / "text", {"a": "A"})
    SearchReport("greedy").write(tmp_path)
    with pytest.raises(ValueError, match="search.json: a decoding with a word model expected"):
        rescore.search_weights(SearchReport.read(tmp_path), tmp_path)
    with pytest.raises(ValueError, match="nbest.tsv expected: decode_ctc --nbest"):
        rescore.read_lists(tmp_path)


@pytest.mark.parametrize(("ids", "named"), [(["a", "zz"], "zz"), (None, "b")])
def test_other_utterances_are_refused(tmp_path, ids, named):
    lists = {"a": [sentence("A", -1, -1)], "b": [sentence("B", -1, -1)]}
    write_decoding(tmp_path, lists)
    write_hypotheses(tmp_path / "text", {"a": "A"})
    with pytest.raises(ValueError, match=rf"lacks 1 utterances \({named}\)"):
        rescore.read_lists(tmp_path, ids)


@pytest.mark.parametrize("text", ["", "{}", '{"ngram_weight": 1}', "[1]"])
def test_damaged_weights_are_refused(tmp_path, text):
    (tmp_path / "weights.json").write_text(text)
    with pytest.raises(ValueError, match="weights.json"):
        rescore.read_rescoring(tmp_path / "weights.json")
