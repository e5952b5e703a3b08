"""Files of decoding that do not belong together, or were edited or cut off."""

import importlib.util
import json
import logging
import math
import shutil
from pathlib import Path

import kaldifst
import numpy as np
import pytest

from speechlm.data.archives import ArchiveWriter, merge_archives, write_frame_shift
from speechlm.decode.ctc_search import CTCSearch, Weights
from speechlm.decode.emissions import Emissions
from speechlm.decode.hypotheses import SearchReport
from speechlm.decode.search_settings import Tuned
from speechlm.decode.transcribe import TUNED, tuned_weights
from speechlm.lm.ctc_graph import N_COLUMNS, make_ctc_graph
from speechlm.lm.search import Beam
from speechlm.lm.spellings import read_spellings

SPEC = importlib.util.spec_from_file_location(
    "brute_force", Path(__file__).with_name("brute_force.py")
)
brute_force = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(brute_force)

VALUES = {"lm_weight": 1.5, "word_score": 0.5, "blank_score": 2.0, "search": "graph"}


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("graph"), np.random.default_rng(0)
    model = brute_force.RandomTrigram(rng, sorted({word for word, _ in brute_force.lexicon()}))
    (folder / "lexicon.lst").write_text(brute_force.LEXICON)
    model.write(folder / "lm.arpa")
    make_ctc_graph(read_spellings(folder / "lexicon.lst"), folder / "lm.arpa", folder / "graph")
    return folder / "graph"


def test_a_graph_of_other_columns_is_refused(graph, tmp_path):
    """As that of a phone recogniser: the searches would read what is behind the scores."""
    assert CTCSearch(graph).decode(
        brute_force.random_emissions(np.random.default_rng(0), 9), Weights()
    )
    shutil.copytree(graph, tmp_path, dirs_exist_ok=True)
    for columns in (N_COLUMNS - 1, N_COLUMNS + 300):
        fst = kaldifst.compile(f"0 1 {columns} 1\n1\n", acceptor=False)
        assert kaldifst.StdConstFst(fst).write(str(tmp_path / "graph.fst"))
        with pytest.raises(
            ValueError, match=f"make_ctc_graph expected.* this one reads {columns},"
        ):
            CTCSearch(tmp_path)


def test_the_words_of_another_graph_are_refused(graph, tmp_path):
    shutil.copytree(graph, tmp_path, dirs_exist_ok=True)
    lines = (graph / "words.txt").read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("BEE ")]
    (tmp_path / "words.txt").write_text("".join(kept))
    with pytest.raises(ValueError, match=r"graph.fst has 1 words without a name in words.txt"):
        CTCSearch(tmp_path)


@pytest.mark.parametrize(
    "values",
    [{"lm_weight": 1e-300}, {"blank_score": 1e39}, {"word_score": -1e39}, {"lm_weight": math.inf}],
)
def test_weights_that_overflow_are_refused(values):
    (name,) = values
    with pytest.raises(ValueError, match=f"{name} is .* expected"):
        Weights(**values)


@pytest.mark.parametrize(
    "beam", [{"bem": 9.0}, {"beam": "12"}, {"beam": -1}, {"beam": 9.0, "max_active": 1}]
)
def test_widths_that_a_search_cannot_have_name_their_file(beam, tmp_path):
    (tmp_path / "weights.json").write_text(json.dumps({**VALUES, "beam": beam}))
    with pytest.raises(ValueError, match=r"weights.json is cut off or damaged.*tune_ctc makes it"):
        Tuned.read(tmp_path / "weights.json").width(Beam)


def test_weights_are_those_of_the_same_search(tmp_path, caplog):
    (tmp_path / TUNED).parent.mkdir()
    (tmp_path / TUNED).write_text(json.dumps({**VALUES, "beam": {"beam": 9.0}}))
    assert tuned_weights(tmp_path, "graph") == tmp_path / TUNED
    assert Tuned.read(tmp_path / TUNED).width(Beam) == Beam(beam=9.0)
    with caplog.at_level(logging.WARNING):
        assert tuned_weights(tmp_path, "flashlight") is None
    assert "was tuned with --search graph, and this is flashlight: the paper's" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [("weights", [1.0]), ("weights", {"lm_weight": "2"}), ("utterances", "7"), ("empty", None)],
)
def test_reports_of_other_values_are_refused(name, value, tmp_path):
    SearchReport("graph", "ngram", {"lm_weight": 2.0}).write(tmp_path)
    values = json.loads((tmp_path / "search.json").read_text())
    (tmp_path / "search.json").write_text(json.dumps({**values, name: value}))
    with pytest.raises(ValueError, match=r"search.json: .* is .*; decode again"):
        SearchReport.read(tmp_path)


def test_emissions_are_as_long_as_the_audio(tmp_path):
    """Those of another set with the same ids, or of audio that has changed, are not decoded."""
    rng = np.random.default_rng(0)
    with ArchiveWriter(tmp_path, "emissions") as archive:
        for utterance in ("a", "b"):
            archive.write(utterance, brute_force.random_emissions(rng, 49))
    merge_archives(tmp_path, 1, "emissions")
    (tmp_path / "skipped.1").write_text("c shorter than a frame\nd shorter than a frame\n")
    write_frame_shift(tmp_path, 0.02)
    found = Emissions(tmp_path, {"a": 16000, "b": 32000, "c": 399, "d": 16000})
    assert len(found["a"]) == 49 and len(found["c"]) == 0
    for utterance, frames in (("b", 49), ("d", 0)):
        with pytest.raises(
            ValueError, match=f"{utterance} has {frames} frames.* make the emissions"
        ):
            found[utterance]
