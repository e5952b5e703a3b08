"""Signals on their way from a step to its training, and what is said of one that has saved."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Saves its state when it is told to stop; a second run goes on from there to its end.
TRAINING = """
import os, pathlib, signal, sys, time
def save(number, _):
    open("state", "a").write(f"{signal.Signals(number).name} ")
    sys.exit(75)
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, save)
again = os.path.exists("state")
open("begun" + os.environ.get("RANK", ""), "w").close()
time.sleep(0 if again else 60)
pathlib.Path("model/weights.pth").touch()
"""
RANKS = {1: (), 2: ("--ranks", "ranks.py --cpu --per_node 2")}


@pytest.fixture
def start(root, tmp_path):
    """Start a step in a folder."""
    tools = root / "tools"
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def start(*options: str, code: str = TRAINING) -> subprocess.Popen:
        words = ["--name", "train it", "--stage", "10", "--output", "model"]
        words += ["--launcher", "local.py model/job.log", *options]
        return subprocess.Popen(
            [sys.executable, tools / "step.py", *words, "--", sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 120
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_training_saves_and_goes_on_at_the_next_start(start, tmp_path, number, ranks):
    options = ("--training", "model", *RANKS[ranks])
    step = start(*options)
    wait_for(*[tmp_path / f"begun{rank}" for rank in (range(2) if ranks == 2 else [""])])
    step.send_signal(number)
    errors = step.communicate(timeout=120)[1]
    assert step.returncode == (75 if number == signal.SIGUSR1 else 128 + number)
    assert "stage 10 | train it: has saved its state, as it was told to stop: " in errors
    assert "failed" not in errors and (tmp_path / ".model.running").exists()
    assert signal.Signals(number).name in (tmp_path / "state").read_text()
    step = start(*options)
    assert step.wait(timeout=120) == 0 and (tmp_path / "model" / ".done").exists()


def test_what_does_not_know_the_signal_is_spared(start, tmp_path):
    code = "import os, time; os.mkdir('model') if not os.path.exists('model') else None"
    step = start(code=f"{code}; open('begun', 'w').close(); time.sleep(1.5)")
    wait_for(tmp_path / "begun")
    step.send_signal(signal.SIGUSR1)
    assert step.wait(timeout=120) == 0


def test_the_code_of_a_training_means_nothing_in_another_step(start):
    step = start(code="raise SystemExit(75)")
    assert "failed with code 75" in step.communicate(timeout=120)[1] and step.returncode == 75


def test_a_training_goes_on_with_another_number_of_ranks(start, tmp_path):
    step = start("--training", "model")
    wait_for(tmp_path / "begun")
    step.send_signal(signal.SIGUSR1)
    assert step.wait(timeout=120) == 75
    step = start("--training", "model", *RANKS[2])
    errors = step.communicate(timeout=120)[1]
    assert step.returncode == 0, errors
    assert (tmp_path / "begun1").exists()
