"""A run that is stopped or killed while steps run side by side: they end, and save first."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = """
set -euo pipefail
. ../TEMPLATE/path.sh
current=10 dry_run=false train_jobs=2 folder=$1
. ../TEMPLATE/steps.sh
python=$2 code=$3
train_one() {
  local out=${folder}/$1
  step "train $1" --output "${out}" -- "${python}" "${code}" "${out}.pid" "${out}.saved"
}
side_by_side train_one a b
"""
SAVES = """
import os, pathlib, signal, sys, time
begun, saved = map(pathlib.Path, sys.argv[1:])
def save(*_):
    time.sleep(1)
    saved.touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
begun.write_text(str(os.getpid()))
time.sleep(300)
"""


def wait_until(what, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def run(root, tmp_path):
    """A shell with two steps that have begun, in a process group of its own."""
    code = tmp_path / "training.py"
    code.write_text(SAVES)
    process = subprocess.Popen(
        ["bash", "-c", RUN, "run", tmp_path, sys.executable, code],
        cwd=root / "egs" / "mini",
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    pids = [tmp_path / f"{name}.pid" for name in "ab"]
    try:
        wait_until(lambda: all(pid.exists() and pid.read_text() for pid in pids), 60)
        yield process
    finally:
        for pid in pids:
            if pid.exists() and Path(f"/proc/{pid.read_text()}").exists():
                os.kill(int(pid.read_text()), signal.SIGKILL)
        process.kill()
        process.communicate()


def saved(folder: Path) -> bool:
    return all((folder / f"{name}.saved").exists() for name in "ab")


def test_a_run_that_is_told_to_stop_waits_until_its_steps_have_ended(run, tmp_path):
    os.killpg(run.pid, signal.SIGTERM)
    assert run.wait(timeout=60) == 130
    assert saved(tmp_path) and not list(tmp_path.glob(".*.owner"))


def test_steps_end_with_a_run_that_is_killed(run, tmp_path):
    os.killpg(run.pid, signal.SIGKILL)
    wait_until(lambda: saved(tmp_path) and not list(tmp_path.glob(".*.owner")), 30)
