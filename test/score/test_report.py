"""RESULTS.md and its mains."""

import re
import subprocess

import numpy as np
import pytest

from speechlm.pictures.look import About, picture
from speechlm.score import alignment, unit_quality
from speechlm.score.error_rate import error_rates
from speechlm.score.report import environment, error_table, read_scores
from speechlm.score.sentences import write_figures
from speechlm.score.translation import translation_scores, translation_table


def test_a_table_in_sclites_columns(tmp_path):
    rates = error_rates({"u": "A B"}, {"u": "A C"})
    write_figures(tmp_path, {"WER": vars(rates.words), "CER": vars(rates.characters)})
    counts = read_scores(tmp_path)
    assert "|test|1|2|50.0|50.0|0.0|0.0|50.0|100.0|" in error_table({"test": counts["WER"]})
    assert counts["CER"] == rates.characters


def test_missing_scores_are_named(tmp_path):
    with pytest.raises(ValueError, match="scores.json is not there"):
        read_scores(tmp_path)


def test_the_commit_is_that_of_a_checkout_alone(tmp_path):
    """Not that of a repository in whose folder the package is installed."""
    author = ["-c", "user.name=a", "-c", "user.email=b"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    commit = ["git", "-C", tmp_path, *author, "commit", "-q", "--allow-empty", "-m", "c"]
    subprocess.run(commit, check=True)
    (tmp_path / "lib").mkdir()
    assert "- commit: `unknown (not a git checkout)`, of" in "\n".join(
        environment(tmp_path / "lib")
    )
    assert re.search("- commit: `[0-9a-f]{7,}`", "\n".join(environment(tmp_path)))


def test_date_and_commit_are_said_to_be_of_the_report(tmp_path):
    """Steps that were done already may be of an earlier commit."""
    lines = {line.split(":")[0]: line for line in environment(tmp_path)}
    assert "when this report was written" in lines["- date"]
    assert "steps done before" in lines["- commit"]


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
    with picture(tmp_path / "images" / "p.png", About("Rates", "With | intervals."), 1, 1, 1):
        pass
    more = ("--pictures", "images/p.png", "--no_pictures", "tuning:--lm none has none")
    done = run_main("report", *words, *scores, *more, "--output", "RESULTS.md", cwd=tmp_path)
    text = (tmp_path / "RESULTS.md").read_text()
    assert "## Pictures\n\n![Rates](images/p.png)\n\n**Rates.** With \\| intervals." in text
    assert "- tuning: --lm none has none" in text
    done = run_main("report", *words, "--scores", "x", "--output", "o", cwd=tmp_path)
    assert done.returncode == 1 and "SYSTEM:SET:DIR expected" in done.stderr


def test_names_do_not_break_the_tables():
    rates = error_rates({"a": "YES"}, {"a": "YES"})
    assert error_table({"a|b": rates.words}).splitlines()[2].startswith("|a\\|b|1|")
    scores, *_ = translation_scores({"a": "Ja."}, {"a": "Ja."}, "de")
    assert translation_table({"a|b": scores}).splitlines()[2].startswith("|a\\|b|1|")
    figures = dict.fromkeys(alignment.COLUMNS.values(), 1.0) | {"utterances": 2}
    assert alignment.figures_table({"a|b": figures}).splitlines()[2].startswith("|a\\|b|2|1.0|")
    quality = unit_quality.UnitCounts(["A", "B"], np.eye(2, dtype=np.int64), 3)
    row = unit_quality.quality_table([("a|b", "x|y", quality)]).splitlines()[2]
    assert row.startswith("|a\\|b|x\\|y|")
