"""Two runs in one folder, and a process that hangs."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.kills import command_name
from faults.recipe import Recipe, Run, kill
from faults.table import Outcome

WAIT_S = 900.0


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
