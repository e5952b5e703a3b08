"""The table of wall and CPU seconds by stage."""

import subprocess
import sys

import pytest


def show(root, path):
    return subprocess.run(
        [sys.executable, root / "tools" / "show_times.py", path], capture_output=True, text=True
    )


def test_sums_by_stage(root, tmp_path):
    path = tmp_path / "times.tsv"
    path.write_text(
        "10\tpre-train\t60.4\t50.0\n2\tformat dev\t1.0\t1.8\n10\tpre-train\t30.0\t20.4\n"
        "2\tx\t2.0\t4.0\n"
    )
    assert show(root, path).stdout.splitlines()[2:] == [
        "| 2 | 3 | 6 | format dev 1 (2), x 2 (4) |",
        "| 10 | 90 | 70 | pre-train 90 (70) |",
        "| all | 93 | 76 | |",
    ]


def test_a_step_whose_cpu_seconds_are_not_known_is_no_zero(root, tmp_path):
    path = tmp_path / "times.tsv"
    path.write_text("2\told\t5.0\n2\tnew\t1.0\t2.0\n3\tnew\t7.0\t9.0\n")
    assert show(root, path).stdout.splitlines()[2:] == [
        "| 2 | 6 | - | old 5 (-), new 1 (2) |",
        "| 3 | 7 | 9 | new 7 (9) |",
        "| all | 13 | - | |",
    ]


@pytest.mark.parametrize("end", ["", "\tnan", "\t1.0\tinf", "\t1.0\t-2", "\t1.0\t2.0\t3.0", "\tx"])
def test_a_line_that_is_none(root, tmp_path, end):
    path = tmp_path / "times.tsv"
    path.write_text(f"10\tpre-train{end}\n")
    result = show(root, path)
    assert result.returncode == 1
    assert "times.tsv:1: stage, step, seconds and CPU seconds" in result.stderr
