"""The verdicts of the fault campaign: what was not tried, or left a process, is not good."""

import importlib
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest


class Run:
    """A run that has ended."""

    def __init__(self, *lines, left=0):
        self.lines, self._left = list(lines), left

    def end(self, seconds=0.0):
        return self._left

    def wait(self, seconds):
        return 0


@pytest.fixture
def tool(root, monkeypatch):
    """Function: name -> a module of tools."""
    monkeypatch.syspath_prepend(str(root / "tools"))
    return importlib.import_module


@pytest.fixture
def ended(tool):
    """Function: lines, left -> a run with the words of the campaign's own."""
    real = tool("faults.recipe").Run
    kind = type("Ended", (Run,), {n: getattr(real, n) for n in ("last_words", "is_clear")})
    return kind


FULL = "error: a.ark cannot be written: No space left on device; 0 bytes free in exp"


@pytest.mark.parametrize(
    ("lines", "code", "reached", "left", "good"),
    [
        ((FULL,), 1, True, 0, True),
        (("== stage 14: done",), 0, True, 0, True),  # it had written all it had to
        (("== stage 14: done",), 0, False, 0, False),  # the disk was never full at this step
        ((FULL,), 1, True, 2, False),  # processes stay
        ((FULL,), None, True, 0, False),  # it has not ended
        (("phone error rate 13 %", "frees some room"), 1, True, 0, False),  # nothing explained
        (("Traceback (most recent call last):", FULL), 1, True, 0, False),
    ],
)
def test_a_full_disk(tool, ended, lines, code, reached, left, good):
    outcome = tool("faults.disks").after_full(ended(*lines, left=left), code, "stage 7", reached)
    assert outcome.good is good
    assert ("not tried" in outcome.said) is not reached
    assert ("processes stay" in outcome.said) is bool(left)


def test_error_rates_explain_no_end(ended):
    assert not ended("word error rate 20 %", "exit 1").is_clear()
    assert ended("x.log: failed with code 1").is_clear()
    assert ended("./a.sh: line 3: 12 Killed  step.py").is_clear()


def test_who_waits_names_the_other_run(tool):
    is_told = tool("faults.others").is_told
    assert is_told("waits for another run: process 23762 on vm, since 23:16:27")
    assert not is_told("stage 14: 4 processes have ended")


def test_processes_that_stay_are_bad(tool, ended):
    campaign = tool("fault_campaign")
    for left in (0, 3):
        recipe = type("Recipe", (), {})()
        recipe.start, recipe.results = lambda n=left: ended(left=n), lambda: {"a": "1"}
        assert campaign.finish(recipe, {"a": "1"}, "disk").good is (left == 0)


def test_no_results_are_nothing_to_compare_with(tool, ended, monkeypatch, tmp_path):
    campaign = tool("fault_campaign")
    run = ended()
    run.stages, run.begun = {1: 0.0}, 0.0
    recipe = type("Recipe", (), {"start": lambda self: run, "results": lambda self: {}})
    monkeypatch.setattr(campaign, "Recipe", lambda folder: recipe())
    with pytest.raises(RuntimeError, match="no results"):
        campaign.reference(tmp_path)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_clock_is_wrong_for_those_that_have_it_and_waits_are_not(tool, tmp_path):
    """It is set while they run; waits of known length last as long as before."""
    clocks = tool("faults.clocks")
    wrong = clocks.wrong_clock("cc", tmp_path, tmp_path / "clock")
    code = (
        "import multiprocessing, sys, time\n"
        "print(time.time(), flush=True)\n"
        "sys.stdin.readline()\n"
        "lock, start = multiprocessing.Lock(), time.monotonic()\n"
        "lock.acquire()\n"
        "time.sleep(0.1)\n"
        "lock.acquire(timeout=0.1)\n"
        "print(time.time(), time.monotonic() - start)\n"
    )
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, **wrong}, **pipes) as process:
        assert float(process.stdout.readline()) == pytest.approx(time.time(), abs=60)
        clocks.set_clock(tmp_path / "clock", -2)
        said = process.communicate("\n")[0].split()
    assert float(said[0]) == pytest.approx(time.time() - 2 * 86400, abs=60)
    assert 0.19 < float(said[1]) < 30


@pytest.mark.parametrize(
    ("line", "good"), [("stage 7 | units: 3.0 s (CPU 2.0 s)", True), ("", False)]
)
def test_a_run_that_goes_on_is_told_from_one_that_hangs(tool, monkeypatch, line, good):
    kills = tool("faults.kills")
    monkeypatch.setattr(kills, "END_S", 0.5)
    monkeypatch.setattr(kills, "GOES_ON_S", 0.2)
    run = Run("stage 7 | units: starts")
    run.ended, run.lines = lambda: False, list(run.lines)
    threading.Timer(0.1, run.lines.append, [line]).start()
    outcome = kills.after_kill(run, "one process: step.py", "stage 7", at_once=False)
    assert outcome.good is good and outcome.said.startswith("goes on, 1" if good else "still runs")
