"""The tables of wall and CPU seconds, by stage and by output."""

import subprocess
import sys

import pytest

NOTES = (
    "10\tpre-train\t60.4\t50.0\texp/a_seed1\n"
    "2\tformat dev\t1.0\t1.8\tdump/dev\n"
    "10\tpre-train\t30.0\t20.4\texp/a_seed2\n"
    "2\tx\t2.0\t4.0\tdump/x\n"
    "10\tpre-train\t9.0\t8.0\texp/a_seed1\n"
)


def show(root, path, *words):
    return subprocess.run(
        [sys.executable, root / "tools" / "show_times.py", path, *words],
        capture_output=True,
        text=True,
    )


def test_sums_by_stage(root, tmp_path):
    path = tmp_path / "times.tsv"
    path.write_text(NOTES)
    assert show(root, path).stdout.splitlines()[2:] == [
        "| 2 | 3 | 6 | format dev 1 (2), x 2 (4) |",
        "| 10 | 99 | 78 | pre-train 99 (78) |",
        "| all | 102 | 84 | |",
    ]


def test_trainings_of_one_name_stand_apart_by_output(root, tmp_path):
    path = tmp_path / "times.tsv"
    path.write_text(NOTES + "11\tfine-tune\t5.0\n")
    assert show(root, path, "--stages", "10", "11").stdout.splitlines()[2:] == [
        "| 10 | exp/a_seed1 | 69 | 58 |",
        "| 10 | exp/a_seed2 | 30 | 20 |",
        "| 11 | fine-tune | 5 | - |",
    ]


def test_a_step_whose_cpu_seconds_are_not_known_is_no_zero(root, tmp_path):
    path = tmp_path / "times.tsv"
    path.write_text("2\told\t5.0\n2\tnew\t1.0\t2.0\ta\n3\tnew\t7.0\t9.0\tb\n")
    assert show(root, path).stdout.splitlines()[2:] == [
        "| 2 | 6 | - | old 5 (-), new 1 (2) |",
        "| 3 | 7 | 9 | new 7 (9) |",
        "| all | 13 | - | |",
    ]


@pytest.mark.parametrize(
    "end", ["", "\tnan", "\t1.0\tinf\ta", "\t1.0\t-2\ta", "\t1.0\t2.0", "\tx", "\t1\t2\ta\tb"]
)
def test_a_line_that_is_none(root, tmp_path, end):
    path = tmp_path / "times.tsv"
    path.write_text(f"10\tpre-train{end}\n")
    result = show(root, path)
    assert result.returncode == 1
    assert "times.tsv:1: stage, step, seconds, CPU seconds and output" in result.stderr
