"""RESULTS.md and its mains."""

import re

import pytest

from speechlm.score.error_rate import error_rates
from speechlm.score.report import error_table, read_scores, save_scores, systems_table


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


def test_mains(program, tmp_path, monkeypatch):
    (tmp_path / "ref").write_text("u1 A B\nu2 C\n")
    (tmp_path / "hyp").write_text("u1 A B\nu2\n")
    monkeypatch.chdir(tmp_path)
    done = program("score", "--ref", "ref", "--hyp", "hyp", "--name", "test", "--output", "out")
    assert done.returncode == 0, done.stderr
    assert "WER 33.33 %, CER 25.00 %" in done.stderr
    assert "u2" in (tmp_path / "out/alignments.txt").read_text()
    done = program(
        "report",
        "--title",
        "T",
        "--scores",
        "speech:test:out",
        "--command",
        "./run.sh",
        "--seed",
        "7",
        "--output",
        "RESULTS.md",
    )
    assert done.returncode == 0, done.stderr
    assert "|speech|33.3|25.0|" in done.stdout
    text = (tmp_path / "RESULTS.md").read_text()
    for wanted in ("command: `./run.sh`", "seed: 7", "torch 2", "commit: `", "hardware: "):
        assert wanted in text
    assert re.search(r"\|speech/test\|2\|3\|66\.7\|0\.0\|33\.3\|0\.0\|33\.3\|50\.0\|", text)
    assert (
        program(
            "report",
            "--title",
            "T",
            "--scores",
            "x",
            "--command",
            "c",
            "--seed",
            "1",
            "--output",
            "o",
        ).returncode
        == 1
    )
