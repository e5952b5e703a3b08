"""Two runs in one folder, a process that hangs, and a clock that jumps."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.kills import END_S, command_name
from faults.recipe import Recipe, Run, kill
from faults.table import Outcome, stay

WAIT_S = 900.0
DAY = 86400


def run_twice(folder: Path, finish: Callable[[Recipe], Outcome]) -> Iterator[Outcome]:
    """Start a second run beside the first in several stages; then one beside a stopped process.

    It says for whom it waits; then both are stopped, and the next two go on.
    """
    recipe = Recipe(folder)
    for words in (
        "make the corpus: starts",
        "Gaussian models: starts",
        "pre-train hidden_text: starts",
    ):
        first = recipe.start()
        reached = first.wait_for_step(words)
        second = recipe.start()
        told = waits_for(second)
        stop(second)
        stop(first)
        good = reached and is_told(told) and "Traceback" not in "\n".join(second.lines)
        yield Outcome("a second run in the same folder", words, told, "", good)
    yield hang(recipe)
    yield finish(recipe)


def waits_for(second: Run) -> str:
    """Return what a run says of another one that is in its way, else its last words."""
    second.wait_for_step("another run", 120.0)
    told = [line.strip() for line in second.lines if "another run" in line]
    return told[0] if told else second.last_words()


def is_told(told: str) -> bool:
    """Whether a run says that another one is in its way, and which process that is."""
    return "another run" in told and "process" in told


def stop(run: Run) -> None:
    """Stop a run as Ctrl-C does, and wait until it has ended."""
    if not run.ended():
        kill(run.process.pid, signal.SIGTERM)
    run.wait(WAIT_S)
    run.wait_until_gone(90.0)
    run.end()


def hang(recipe: Recipe) -> Outcome:
    """Stop a training (SIGSTOP), start a run beside it, then kill what hangs."""
    words = "pre-train speech_text: starts"
    first = recipe.start()
    first.wait_for_step(words)
    hanging: list[int] = []
    while not hanging and not first.ended():
        time.sleep(3.0)
        hanging = [n for n in first.processes() if command_name(n) == "speechlm.bin.pretrain"]
    for number in hanging:
        kill(number, signal.SIGSTOP)
    second = recipe.start()
    told = waits_for(second)
    for number in hanging:
        kill(number, signal.SIGKILL)
    code = first.wait(WAIT_S)
    good = bool(hanging) and is_told(told) and code not in (None, 0) and first.is_clear()
    said = f"a second run: {told}; when what hangs is killed, the first: code {code}: "
    said += first.last_words()
    first.end()
    second.end()
    return Outcome("a training hangs (SIGSTOP)", words, said, "", good)


def move_clock(folder: Path, finish: Callable[[Recipe], Outcome]) -> Iterator[Outcome]:
    """Let the clock jump a day forth, back and forth again while stages run."""
    if shutil.which("faketime") is None:
        yield Outcome("a clock that jumps", "", "left out: faketime is not installed", "", True)
        return
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    recipe, file = Recipe(folder), folder / "clock"
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",  # times of files stay what they were when a clock is set
    }
    set_clock(file, 2)
    jumps = shown_time(faked) - time.time() > DAY
    set_clock(file, 0)
    run = recipe.start(**faked)
    for stage, days in ((2, 1), (4, -1), (8, 1), (10, -1), (12, 2)):
        run.wait_for_stage(stage)
        time.sleep(1.0)
        set_clock(file, days)
    code = run.wait(WAIT_S)
    left = run.end(END_S)
    said = f"code {code}: {run.last_words()}{stay(left)}"
    yield Outcome(
        "the clock jumps by days",
        "stages 2, 4, 8, 10 and 12",
        said if jumps else f"not tried, as faketime changes no clock here; {said}",
        "",
        jumps and not left and code == 0 and "Traceback" not in "\n".join(run.lines),
    )
    yield finish(recipe)


def shown_time(environment: dict[str, str]) -> float:
    """Return the seconds that `date` shows with these variables."""
    command = ["date", "+%s"]
    return float(subprocess.check_output(command, env={**os.environ, **environment}))


def set_clock(file: Path, days: int) -> None:
    """Write by how many days the clock is wrong; at once, as faketime ends who reads half of it."""
    temporary = file.with_suffix(".new")
    temporary.write_text(f"{days * DAY:+d}")
    temporary.replace(file)
