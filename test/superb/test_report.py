"""Results come back, and what cannot stand in one table is refused."""

import dataclasses

import numpy as np
import pytest

from speechlm.pictures.look import read_about
from speechlm.superb.metrics import Ratio, accuracy
from speechlm.superb.report import draw_weights, missing, write_report
from speechlm.superb.results import read_result, write_result
from speechlm.superb.training import Verdict
from speechlm.superb.upstream import Description

DESCRIPTION = Description("speechlm", 3, 8, 400, 320, "abc", "model")


@pytest.fixture
def result(tmp_path):
    """Function: write a result and read it."""

    def make(task="ks", model="m", right=0.8, items=50, seeds=(1, 2), description=DESCRIPTION):
        rng = np.random.default_rng(0)
        metric = "PER" if task == "pr" else "accuracy"
        scores = {metric: [accuracy(rng.random(items) < right) for _ in seeds]}
        weights = [np.array([0.2, 0.3, 0.5])[: description.layers]] * len(seeds)
        tested = Verdict({0.1: 50.0, 0.01: 80.0}, 0.01, scores, weights, ["a note | of it"])
        write_result(tmp_path / task / model, task, model, description, tested, seeds)
        return read_result(tmp_path / task / model)

    return make


def test_a_result_comes_back(result, tmp_path):
    found = result()
    assert (found.rate, found.rates, found.seeds) == (0.01, {0.1: 50.0, 0.01: 80.0}, [1, 2])
    assert found.description == DESCRIPTION and found.weights.shape == (2, 3)
    assert isinstance(found.scores["accuracy"][0], Ratio)
    file = tmp_path / "ks" / "m" / "accuracy.2.npz"
    for content in (file.read_bytes()[:200], b"", None):
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(ValueError, match=r"accuracy.2.npz .*run the task again"):
            read_result(tmp_path / "ks" / "m")


def test_the_report_has_scores_rates_and_notes(result, tmp_path):
    fbank = dataclasses.replace(DESCRIPTION, kind="fbank", layers=1)
    results = [
        result("ks", "ours", 0.9),
        result("ks", "fbank", 0.5, description=fbank),
        result("pr", "ours", 0.3),
        result("pr", "fbank", 0.6, description=fbank),
    ]
    text = write_report(results, 200, 1, "images/weights.png")
    rows = {line.split("|")[1]: line for line in text.splitlines() if line.startswith("|")}
    spotting, phones = rows["keyword spotting (ks)"], rows["phone recognition (pr)"]
    assert "(best)" in spotting.split("|")[4] and "(best)" not in spotting.split("|")[5]
    assert "(best)" in phones.split("|")[4]  # of errors less is better
    assert "|ks|0.1, 0.01|0.01|0.01|" in text
    assert "- ks, ours: a note \\| of it" in text and "](images/weights.png)" in text
    assert draw_weights(results, tmp_path / "weights.png")
    assert read_about(tmp_path / "weights.png").title == "Weights of the layers"
    assert not draw_weights([results[1]], tmp_path / "none.png")
    assert missing(results) == "" and missing(results[:3]) == "1 results are not there: pr/fbank"


def test_one_name_is_one_model(result):
    other = dataclasses.replace(DESCRIPTION, weights="xyz")
    results = [result("ks", "m"), result("pr", "m", description=other)]
    with pytest.raises(ValueError, match="one model under one name expected; m is another on pr"):
        write_report(results, 100, 1)


def test_test_sets_and_seeds_are_the_same(result):
    with pytest.raises(ValueError, match="ks: one test set and the same seeds expected"):
        write_report([result("ks", "a"), result("ks", "b", items=49)], 100, 1)
    with pytest.raises(ValueError, match="ks: one test set and the same seeds expected"):
        write_report([result("ks", "a"), result("ks", "b", seeds=(1, 3))], 100, 1)
    with pytest.raises(ValueError, match="two results of a on ks"):
        write_report([result("ks", "a"), result("ks", "a")], 100, 1)
