"""RESULTS.md and its mains."""

import re

import numpy as np
import pytest

from speechlm.score import alignment, unit_quality
from speechlm.score.error_rate import error_rates
from speechlm.score.report import error_table, read_scores, save_scores, systems_table
from speechlm.score.translation import translation_scores, translation_table


def test_tables(tmp_path):
    save_scores(error_rates({"u": "A B"}, {"u": "A C"}), tmp_path)
    counts = read_scores(tmp_path)
    assert "|test|1|2|50.0|50.0|0.0|0.0|50.0|100.0|" in error_table({"test": counts["WER"]})
    table = systems_table({"speech": {"test": counts}, "scratch": {}})
    assert table.splitlines()[0] == "|system|test WER|test CER|"
    assert table.splitlines()[2:] == ["|speech|50.0|33.3|", "|scratch|-|-|"]


def test_missing_scores_are_named(tmp_path):
    with pytest.raises(ValueError, match="scores.json is not there"):
        read_scores(tmp_path)


def test_mains(run_main, tmp_path):
    (tmp_path / "ref").write_text("u1 A B\nu2 C\n")
    (tmp_path / "hyp").write_text("u1 A B\nu2\n")

    words = ["--ref", "ref", "--hyp", "hyp", "--name", "test", "--output", "out"]
    done = run_main("score", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "WER 33.33 %, CER 25.00 %" in done.stderr
    assert "u2" in (tmp_path / "out/alignments.txt").read_text()
    words = ["--title", "T", "--command", "./run.sh", "--seed", 7]
    scores = ["--scores", "speech:test:out"]
    done = run_main("report", *words, *scores, "--output", "RESULTS.md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "|speech|33.3|25.0|" in done.stdout
    text = (tmp_path / "RESULTS.md").read_text()
    for wanted in ("command: `./run.sh`", "seed: 7", "torch 2", "commit: `", "hardware: "):
        assert wanted in text
    assert re.search(r"\|speech/test\|2\|3\|66\.7\|0\.0\|33\.3\|0\.0\|33\.3\|50\.0\|", text)
    done = run_main("report", *words, "--scores", "x", "--output", "o", cwd=tmp_path)
    assert done.returncode == 1 and "SYSTEM:SET:DIR expected" in done.stderr


def test_names_do_not_break_the_tables():
    rates = error_rates({"a": "YES"}, {"a": "YES"})
    rows = error_table({"a|b": rates.words}).splitlines(), systems_table({"x|y": {}}).splitlines()
    assert rows[0][2].startswith("|a\\|b|1|") and rows[1][2] == "|x\\|y|"
    scores, *_ = translation_scores({"a": "Ja."}, {"a": "Ja."}, "de")
    assert translation_table({"a|b": scores}).splitlines()[2].startswith("|a\\|b|1|")
    figures = dict.fromkeys(alignment.COLUMNS.values(), 1.0) | {"utterances": 2}
    assert alignment.figures_table({"a|b": figures}).splitlines()[2].startswith("|a\\|b|2|1.0|")
    quality = unit_quality.UnitCounts(["A", "B"], np.eye(2, dtype=np.int64), 3)
    row = unit_quality.quality_table([("a|b", "x|y", quality)]).splitlines()[2]
    assert row.startswith("|a\\|b|x\\|y|")
