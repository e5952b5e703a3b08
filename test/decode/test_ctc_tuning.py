"""Weights of decoding: found on made-up surfaces, by any number of processes; files, warnings."""

import json
import logging
import os
import re
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from speechlm.data.archives import ArchiveWriter, merge_archives
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode import ctc_tuning
from speechlm.decode.ctc_search import Found, Weights
from speechlm.decode.ctc_tuning import choose, neighbourhood_table, tune, write_tuning
from speechlm.decode.dev_errors import DevErrors, DevSet, Outcome, check_vocabulary, read_dev
from speechlm.decode.search_settings import Tuned
from speechlm.lm.ctc_graph import make_ctc_graph

WORDS = 40
"""Words of each utterance."""


class Bowl:
    """A search that writes the fewer right words, the further the weights are from an optimum."""

    def __init__(self, lowest, word="W", steep=1.0, ends=False):
        self.lowest, self.word, self.steep, self.ends = lowest, word, steep, ends

    def decode(self, emissions, weights):
        if self.ends:
            os._exit(1)
        at = self.lowest
        distance = (
            2 * abs(np.log(weights.lm_weight / at.lm_weight))
            + abs(weights.word_score - at.word_score) / 4
            + abs(weights.blank_score - at.blank_score) / 2
        )
        # emissions[0, 0] tells utterances apart: each takes another distance to lose a word
        wrong = min(WORDS, int(self.steep * distance * 4 + emissions[0, 0]))
        return Found(("W",) * (WORDS - wrong) + (self.word,) * (wrong // 2), True)

    def nbest(self, emissions, weights, n):
        raise NotImplementedError


def dev_set(n=40):
    emissions = [np.full((3, 2), k / n) for k in range(n)]
    return DevSet("dev", [["W"] * WORDS for _ in range(n)], emissions)


def tuned(lowest, start=None, given=(), nj=1, **more):
    with DevErrors(Bowl(lowest, **more), dev_set(), nj) as errors:
        return tune(errors, start or Weights(), given)


def distance(a, b):
    return max(
        abs(np.log(a.lm_weight / b.lm_weight)) / np.log(1.2), abs(a.word_score - b.word_score)
    )


@pytest.mark.parametrize(
    "lowest", [Weights(2, -1, 0), Weights(4.5, 3, 2), Weights(2.5, -2, 2), Weights(0.5, 1.5, 2.5)]
)
def test_finds_the_optimum_of_a_surface(lowest):
    found = tuned(lowest, steep=3)
    assert abs(found.weights.blank_score - lowest.blank_score) <= 0.5
    assert distance(found.weights, lowest) <= 1.01, found.weights
    assert found.source == "tuned" and len(found.points) < 60


def test_processes_do_not_change_the_result():
    lowest = Weights(3.2, 0.7, 1.8)
    one, two, many = (tuned(lowest, nj=nj) for nj in (1, 2, 50))
    assert one.weights == two.weights == many.weights
    for other in (two, many):
        assert list(other.points) == list(one.points)
        for weights, outcome in other.points.items():
            assert (outcome.counts == one.points[weights].counts).all()
            assert outcome.written == one.points[weights].written


def test_a_process_that_ends_is_told_of():
    with pytest.raises(OSError, match="--nj 1 needs least"):
        tuned(Weights(), nj=2, ends=True)


@pytest.mark.parametrize("name", ["lm_weight", "word_score", "blank_score"])
def test_given_weights_stay(name):
    start = replace(Weights(), **{name: 1.37})
    found = tuned(Weights(4.5, 3, 2), start, [name])
    assert {getattr(w, name) for w in found.points} == {1.37}
    others = [n for n in ("lm_weight", "word_score", "blank_score") if n != name]
    assert all(len({getattr(w, n) for w in found.points}) > 2 for n in others)


def test_all_given_is_one_point():
    names = ["lm_weight", "word_score", "blank_score"]
    found = tuned(Weights(4.5, 3, 2), Weights(1, 2, 3), names)
    assert list(found.points) == [Weights(1, 2, 3)] == [found.weights]
    assert found.source == "given"


def outcome(errors):
    """Substitutions only."""
    counts = np.array([[e, 0, 0] for e in errors])
    return Outcome(counts, 100 * len(errors), Counter(), 0, 0.1)


def test_within_noise_the_smaller_lm_weight_is_taken():
    rng = np.random.default_rng(0)
    best = rng.integers(20, 40, 50)
    same = best + rng.permutation([1, -1] * 25)
    same[:2] += 1  # 2 errors more in all, standard error about 7
    points = {Weights(5): outcome(best), Weights(3): outcome(same), Weights(4): outcome(best + 0)}
    assert choose(points) == Weights(3)
    points[Weights(2)] = outcome(best + 1)  # 1 more in each: not by chance
    assert choose(points) == Weights(3)


def test_points_stand_in_files(tmp_path):
    found = tuned(Weights(3, 0, 1))
    beam = {"beam": 9.0, "max_active": 300, "min_active": 20}
    write_tuning(found, tmp_path, beam, search="graph", dev="dev")
    read = Tuned.read(tmp_path / "weights.json")
    assert (read.weights, read.search, read.beam) == (found.weights, "graph", beam)
    values = json.loads((tmp_path / "weights.json").read_text())
    assert values["points"] == len(found.points) and values["source"] == "tuned"
    assert values["words"] == 40 * WORDS and values["dev"] == "dev"
    rows = [line.split("\t") for line in (tmp_path / "grid.tsv").read_text().splitlines()]
    assert rows[0][:4] == ["lm_weight", "word_score", "blank_score", "wer"]
    assert len(rows) == 1 + len(found.points) == 1 + len({tuple(row[:3]) for row in rows[1:]})
    chosen = next(r for r in rows[1:] if [float(v) for v in r[:3]] == [*values.values()][:3])
    errors, words = sum(map(int, chosen[4:7])), int(chosen[7])
    assert float(chosen[3]) == pytest.approx(100 * errors / words, abs=1e-3)
    assert values["wer"] == pytest.approx(float(chosen[3]))
    assert {path.name for path in tmp_path.iterdir()} == {"weights.json", "grid.tsv"}


def test_the_neighbourhood_is_complete():
    found = tuned(Weights(3, 0, 1))
    table = neighbourhood_table(found)
    assert table.count("*") == 2  # in the map, and among the blank scores
    lm_weights, word_scores, blanks = ctc_tuning.axes(found.weights, Weights.__dataclass_fields__)
    for lm in lm_weights:
        for words in word_scores:
            assert Weights(lm, words, found.weights.blank_score) in found.points
    assert all(replace(found.weights, blank_score=blank) in found.points for blank in blanks)


@pytest.mark.parametrize(
    ("written", "counts", "message"),
    [
        (Counter(A=30, B=25), [10, 60, 0], "60 of 100 words are deleted"),
        (Counter(THE=30, B=25), [60, 10, 0], "30 of the 55 words .* are THE"),
        (Counter(), [0, 100, 0], "100 of 100 words are deleted"),
        (Counter(A=30, B=30), [40, 50, 30], None),
    ],
)
def test_weak_models_are_warned_of(caplog, written, counts, message):
    ctc_tuning.warn_of_weak_model(Outcome(np.array([counts]), 100, written, 0, 0.0))
    assert bool(caplog.records) == bool(message)
    if message:
        assert re.search(message, caplog.text)


@pytest.mark.parametrize(("unknown", "warned"), [(1, False), (4, True)])
def test_words_that_cannot_be_found_are_counted(caplog, unknown, warned):
    caplog.set_level(logging.INFO)
    dev = DevSet("dev", [["A"] * (100 - unknown) + ["NEW"] * unknown], [])
    assert check_vocabulary(dev, {"A", "B"}, "graph") == unknown
    assert f"{unknown}.00 % of 100 words are not in graph" in caplog.text
    assert ("larger word list is needed" in caplog.text) == warned


def test_another_writing_is_refused():
    dev = DevSet("dev", [["some", "words"] * 100], [])
    with pytest.raises(ValueError, match="such as OTHERS WORDS.* 100 % are .* such as some words"):
        check_vocabulary(dev, {"OTHERS", "WORDS", "<eps>", "#0"}, "graph")


# The program, on a graph of two words

ARPA = """\\data\\
ngram 1=4

\\1-grams:
-99 <s>
-1.0 </s>
-0.4 TO
-0.7 ON

\\end\\
"""
SPELLED = {word: [tuple(CharacterVocabulary().encode(word).tolist())] for word in ("TO", "ON")}


def corpus(folder, sentences, name):
    """A data directory, and emissions that say its words with errors."""
    data = folder / name
    data.mkdir()
    ids = [f"u{n:03}" for n in range(len(sentences))]
    tables = {
        "wav.scp": [f"{u} {u}.flac" for u in ids],
        "utt2spk": [f"{u} {u}" for u in ids],
        "utt2num_samples": [f"{u} 16000" for u in ids],
        "text": [f"{u} {text}" for u, text in zip(ids, sentences, strict=True)],
    }
    for table, lines in tables.items():
        (data / table).write_text("".join(f"{line}\n" for line in lines))
    rng = np.random.default_rng(3)
    with ArchiveWriter(folder / f"emissions_{name}", "emissions") as archive:
        for utterance, text in zip(ids, sentences, strict=True):
            spoken = [
                c
                for word in text.split()
                for c in tuple(CharacterVocabulary().encode(word).tolist())
            ]
            rows = np.array([v for c in spoken for v in (c, 0)])
            logits = rng.normal(0, 2, (len(rows), CharacterVocabulary.n_ids))
            logits[np.arange(len(rows)), rows] += 4
            archive.write(utterance, (logits - np.log(np.exp(logits).sum(1, keepdims=True))))
    merge_archives(folder / f"emissions_{name}", 1, "emissions")
    return data


@pytest.fixture(scope="module")
def decoding(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoding")
    (folder / "lm.arpa").write_text(ARPA)
    make_ctc_graph(SPELLED, folder / "lm.arpa", folder / "graph")
    rng = np.random.default_rng(5)
    for name in ("dev", "test"):
        corpus(folder, [" ".join(rng.choice(["TO", "ON"], 12)) for _ in range(12)], name)
    return folder


def run_tune(run_main, folder, *more):
    return run_main(
        "tune_ctc",
        *("--emissions", folder / "emissions_dev", "--data_dir", folder / "dev"),
        *("--graph", folder / "graph", "--output", folder / "tuned", "--search_beam", 8, *more),
    )


opened = []
"""Files that are opened while a list is here."""


def _note(event, arguments):
    if opened and event == "open":
        opened[0].append(str(arguments[0]))


def test_program_reads_dev_and_never_test(run_main, decoding):
    sys.addaudithook(_note)
    opened.append([])
    done = run_tune(run_main, decoding)
    files = opened.pop()
    assert done.returncode == 0, done.stderr
    inputs = {f.removeprefix(f"{decoding}/").split("/")[0] for f in files if str(decoding) in f}
    assert {"dev", "emissions_dev", "graph"} <= inputs
    assert not {i for i in inputs if "test" in i}, files
    assert Tuned.read(decoding / "tuned" / "weights.json").beam["beam"] == 8
    assert "blank score" in done.stdout and "*" in done.stdout
    values = json.loads((decoding / "tuned" / "weights.json").read_text())
    paper = (decoding / "tuned" / "grid.tsv").read_text().splitlines()[1].split("\t")
    assert values["wer"] <= max(float(paper[3]), 1.0)


def test_program_in_two_processes(run_main, decoding):
    rows = []
    for nj in (1, 2):
        assert run_tune(run_main, decoding, "--nj", nj).returncode == 0
        text = (decoding / "tuned" / "grid.tsv").read_text()
        rows.append([line.split("\t")[:-1] for line in text.splitlines()])  # without seconds
    assert rows[0] == rows[1] and len(rows[0]) > 5


def test_program_takes_some_utterances(run_main, decoding):
    done = run_tune(run_main, decoding, "--max_utterances", 9, "--lm_weight", 1.5)
    assert "9 of 12 utterances are used, evenly chosen" in done.stderr
    values = json.loads((decoding / "tuned" / "weights.json").read_text())
    assert values["words"] == 9 * 12 and values["lm_weight"] == 1.5


@pytest.mark.parametrize(
    "text", [None, "u000 TO ON\n" + "".join(f"u{n:03}\n" for n in range(1, 12))]
)
def test_without_words_weights_stay_the_papers(run_main, decoding, tmp_path, text):
    data = tmp_path / "dev"
    data.mkdir()
    for table in (decoding / "dev").iterdir():
        if table.name != "text":
            (data / table.name).write_text(table.read_text())
    if text:
        (data / "text").write_text(text)
    done = run_main(
        "tune_ctc",
        *("--emissions", decoding / "emissions_dev", "--data_dir", data, "--blank_score", 1.5),
        *("--graph", decoding / "graph", "--output", tmp_path / "tuned"),
    )
    assert done.returncode == 0 and "100 or more expected" in done.stderr
    assert Tuned.read(tmp_path / "tuned" / "weights.json").weights == Weights(2, -1, 1.5)
    values = json.loads((tmp_path / "tuned" / "weights.json").read_text())
    assert values["source"] == "paper" and values["wer"] is None


def test_program_wants_a_graph(run_main, decoding, tmp_path):
    done = run_main(
        "tune_ctc", "--emissions", "a", "--data_dir", "b", "--output", tmp_path / "tuned"
    )
    assert done.returncode == 1 and "--graph DIR expected" in done.stderr


def test_program_has_no_nbest(run_main, decoding):
    done = run_tune(run_main, decoding, "--nbest", 5)
    assert done.returncode and "--nbest" in done.stderr


def test_options_of_a_search_are_refused_without_a_graph(run_main, decoding, tmp_path):
    done = run_main(
        *("decode_ctc", "--emissions", decoding / "emissions_dev"),
        *("--data_dir", decoding / "dev", "--output", tmp_path / "out"),
        *("--nbest", 5, "--blank_score", 0, "--search", "flashlight"),
    )
    assert done.returncode and not (tmp_path / "out").exists()
    message = "--blank_score --nbest --search: for a search with a word model, which --graph names"
    assert message in done.stderr


def test_chosen_utterances_are_spread(decoding):
    data = DataDir.read(decoding / "dev")
    dev = read_dev(data, "dev", str(decoding / "emissions_dev"), 4 * 3)
    some = read_dev(data, "dev", str(decoding / "emissions_dev"), 9)
    assert len(dev.references) == 12 and some.words == 9 * 12
    first = [n for n, r in enumerate(dev.references) if r in some.references]
    assert min(first) == 0 and max(first) >= 10
