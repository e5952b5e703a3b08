"""A job under Slurm whose time is over goes on, where what it runs has saved its state."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from fake_cluster import Cluster


@pytest.fixture
def cluster(root, tmp_path):
    """Make a fake cluster that behaves as told."""
    return lambda **plan: Cluster(root, tmp_path, **plan)


# Runs until a signal; then, or in a second run, ends with the code in its argument. It takes a
# moment to save its state.
SAVES = """
import pathlib, signal, sys, time

def save(*_):
    time.sleep(1.0)
    sys.exit(int(sys.argv[1]))

runs = pathlib.Path("runs")
before = runs.exists()
runs.open("a").write("x")
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, save)
print("begun", flush=True)
time.sleep(0 if before else 60)
"""


def tell_shell(one: Cluster) -> None:
    """As with --signal=B:USR1@120: Slurm gives it to the shell only."""
    os.kill(json.loads((one.home / "jobs" / "101.").read_text())["pid"], signal.SIGUSR1)


def start_saving(one: Cluster, *options: str, code: int = 75) -> subprocess.Popen:
    process = one.start(*options, "l", sys.executable, "-c", SAVES, str(code))
    one.wait_for(lambda: one.begun("l"))
    return process


@pytest.mark.parametrize("to", ["the shell", "the launcher"])
def test_a_job_whose_time_is_over_goes_on(cluster, to):
    one = cluster()
    process = start_saving(one)
    assert "--signal=B:USR1@120" in one.submitted()[0] and "--requeue" in one.submitted()[0]
    if to == "the shell":
        tell_shell(one)
    else:
        process.send_signal(signal.SIGUSR1)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 0, errors
    assert (one.work / "runs").read_text() == "xx" and len(one.submitted()) == 1
    assert "(code 75)" in (one.work / "l").read_text()


@pytest.mark.parametrize(
    ("options", "plan", "said"),
    [
        (("--restarts", "0"), {}, "started again 0 times (--restarts)"),
        ((), {"no_requeue": True}, "disabled"),
    ],
)
def test_a_job_that_may_not_go_on_says_that_it_could(cluster, options, plan, said):
    one = cluster(**plan)
    process = start_saving(one, "--retry", "2", *options)
    tell_shell(one)
    assert process.wait(timeout=120) == 75
    assert said in (one.work / "l").read_text()
    assert (one.work / "runs").read_text() == "x"


def test_other_codes_after_the_signal_are_failures(cluster):
    one = cluster()
    process = start_saving(one, code=3)
    tell_shell(one)
    assert process.wait(timeout=120) == 1 and "(code 3)" in (one.work / "l").read_text()


def test_a_command_that_does_not_know_the_signal_goes_on(cluster):
    one = cluster()
    process = one.start("l", "sh", "-c", "echo begun; sleep 2")
    one.wait_for(lambda: one.begun("l"))
    tell_shell(one)
    assert process.wait(timeout=120) == 0


def test_a_cancelled_job_that_saves_does_not_come_back(cluster):
    one = cluster()
    process = start_saving(one)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 75  # it has saved its state
    time.sleep(1.5)
    assert one.states() == ["CANCELLED"] and (one.work / "runs").read_text() == "x"
