"""The table of wall times by stage."""

import subprocess
import sys


def test_sums_by_stage(root, tmp_path):
    path = tmp_path / "times.tsv"
    path.write_text("10\tpre-train\t60.4\n2\tformat dev\t1.0\n10\tpre-train\t30.0\n2\tx\t2.0\n")
    result = subprocess.run(
        [sys.executable, root / "tools" / "show_times.py", path], capture_output=True, text=True
    )
    assert result.stdout.splitlines()[2:] == [
        "| 2 | 3 | format dev 1, x 2 |",
        "| 10 | 90 | pre-train 90 |",
        "| all | 93 | |",
    ]


def test_a_line_that_is_none(root, tmp_path):
    path = tmp_path / "times.tsv"
    path.write_text("10\tpre-train\n")
    result = subprocess.run(
        [sys.executable, root / "tools" / "show_times.py", path], capture_output=True, text=True
    )
    assert result.returncode == 1 and "times.tsv:1: stage, step and seconds" in result.stderr
