"""The tests of this folder take their sizes from the golden set: they pass on one of other sizes.

Takes some seconds: it runs all of them, in a process that reads the other set.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture
def path():
    """Once: in place of the fixture that runs every test of this folder on both paths."""


def run(*command, folder):
    environment = {**os.environ, "SPEECHLM_SHARED": str(folder)}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=HERE.parents[1],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    return done.stdout


def test_a_set_of_other_sizes_passes(tmp_path):
    (tmp_path / "golden").mkdir()
    run(str(HERE / "other_sizes.py"), str(tmp_path / "golden"), folder=tmp_path)
    files = sorted(path.name for path in HERE.glob("test_*.py") if path != Path(__file__).resolve())
    tests = [str(HERE / name) for name in files]
    printed = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "plain", *tests, folder=tmp_path
    )
    assert "passed" in printed and "skipped" not in printed and "failed" not in printed
