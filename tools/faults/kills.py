"""SIGKILL at random times: of run.sh alone, of one process of the run, or of all of them."""

import random
import time
from collections.abc import Callable, Iterator

from faults.recipe import Recipe, Run, kill
from faults.table import Outcome

STAGES = 14
MISSED = "none: ended before"
"""In place of a fault: the run had ended before it could be killed."""
END_S = 90.0
"""Seconds in which what a killed run has left must have ended: a training saves its state first."""

GOES_ON_S = 15.0
"""Seconds after the end of a further step in which a run that was hit ends."""


def run_alone(run: Run, _: random.Random) -> str:
    """Kill run.sh, and nothing below it."""
    kill(run.process.pid)
    return "run.sh alone"


def one_process(run: Run, draw: random.Random) -> str:
    """Kill a process below run.sh: a shell, step.py, a launcher, a job or one of its workers."""
    below = [number for number in run.processes() if number != run.process.pid]
    if not below:
        return run_alone(run, draw)
    number = draw.choice(below)
    name = command_name(number)
    kill(number)
    return f"one process: {name}"


def everything(run: Run, _: random.Random) -> str:
    """Kill all processes of the run, as a power cut does."""
    for _attempt in range(3):  # what was being started meanwhile, too
        for number in run.processes():
            kill(number)
    return "all processes"


TARGETS: tuple[Callable[[Run, random.Random], str], ...] = (run_alone, one_process, everything)


def command_name(number: int) -> str:
    """Return the program that a process runs, in short."""
    try:
        with open(f"/proc/{number}/cmdline", "rb") as file:
            words = file.read().decode(errors="replace").split("\0")
    except OSError:
        return "?"
    named = [word for word in words if word.startswith("speechlm.bin.") or ".py" in word]
    name = named[0] if named else next((word for word in words[:2] if ".sh" in word), words[0])
    return name.rpartition("/")[2]


def last_step(run: Run) -> str:
    """Return the stage and the last step that the run has spoken of."""
    steps = [line for line in run.lines if line.startswith("stage ")]
    return steps[-1].partition(": ")[0] if steps else f"stage {run.stage}"


def kill_at_random(
    recipe: Recipe, times: dict[int, float], kills: int, seed: int
) -> Iterator[Outcome]:
    """Kill a recipe again and again on its way through all stages, then let it finish.

    Args:
        recipe: The copy.
        times: Seconds that each stage takes without faults.
        kills: How many; the same number in each stage, as far as they can be divided.
        seed: Of stages' shares, targets and times.

    Yields:
        What came of each kill, and at the end of all of them.
    """
    draw = random.Random(seed)
    plan = sorted(1 + n % STAGES for n in range(kills))
    for n, stage in enumerate(plan):
        run = recipe.start()
        run.wait_for_stage(stage)
        # A stage's share is its time over the kills in it: each run comes a little further.
        time.sleep(draw.uniform(0.0, 0.3 + times.get(stage, 1.0) / plan.count(stage)))
        if run.ended():
            yield Outcome(
                MISSED, f"stage {stage}", run.last_words(), "", run.process.returncode == 0
            )
            continue
        where = last_step(run)
        fault = TARGETS[n % len(TARGETS)](run, draw)
        yield after_kill(run, fault, where, at_once=draw.random() < 0.5)


def steps_until_end(run: Run) -> int:
    """Wait until a run ends, or goes on; return how many steps have ended meanwhile.

    It goes on where it did not need what was killed: what keeps the claim of a step, for one, is
    replaced. A step beside that of the kill may end well before the run does, so that some seconds
    more are waited for.
    """
    before, deadline, steps = len(run.lines), time.monotonic() + END_S, 0
    while not run.ended() and time.monotonic() < deadline:
        said = [line for line in run.lines[before:] if line.startswith("stage ")]
        ended = sum("(CPU " in line for line in said)
        if ended and not steps:
            deadline = min(deadline, time.monotonic() + GOES_ON_S)
        steps = ended
        time.sleep(0.1)
    return steps


def after_kill(run: Run, fault: str, where: str, at_once: bool) -> Outcome:
    """Return what came of a kill: how the run ended, and when the last of its processes did.

    Args:
        run: The run.
        fault: What was killed.
        where: In which stage and step.
        at_once: The next run is not kept waiting until the last process has ended.
    """
    silent = fault in ("run.sh alone", "all processes")
    steps = steps_until_end(run)
    if not run.ended():
        run.end()
        said = f"goes on, {steps} steps ended since" if steps else "still runs, and no step ended"
        return Outcome(fault, where, said, "", steps > 0)
    code = run.wait(END_S)
    if at_once:
        left = run.processes()
        gone = f"the next run beside {len(left)} processes that end" if left else "nothing left"
        good = True
    else:
        seconds = run.wait_until_gone(END_S)
        gone = "processes stay" if seconds is None else f"nothing left after {seconds:.1f} s"
        good = seconds is not None
    said = "" if silent else f"code {code}: {run.last_words()}; "
    return Outcome(fault, where, said + gone, "", good and (silent or code == 0 or run.is_clear()))
