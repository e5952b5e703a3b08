"""A clock that jumps by days."""

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.kills import END_S
from faults.recipe import Recipe
from faults.table import Outcome, stay

SOURCE = Path(__file__).with_name("clock.c")
WAIT_S = 900.0
DAY = 86400
JUMPS = ((2, 1), (4, -1), (8, 1), (10, -1), (12, 2))
"""Stages, and by how many days the clock is ahead from a second after their beginning."""


def move_clock(folder: Path, finish: Callable[[Recipe], Outcome]) -> Iterator[Outcome]:
    """Let the clock jump a day forth, back and forth again while stages run."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        yield Outcome("a clock that jumps", "", "left out: there is no C compiler", "", True)
        return
    recipe, clock = Recipe(folder), folder / "clock"
    wrong = wrong_clock(compiler, folder, clock)
    set_clock(clock, 2)
    jumps = shown_time(wrong) - time.time() > DAY
    set_clock(clock, 0)
    run = recipe.start(**wrong)
    for stage, days in JUMPS:
        run.wait_for_stage(stage)
        time.sleep(1.0)
        set_clock(clock, days)
    code = run.wait(WAIT_S)
    left = run.end(END_S)
    said = f"code {code}: {run.last_words()}{stay(left)}"
    yield Outcome(
        "the clock jumps by days",
        f"stages {', '.join(str(stage) for stage, _ in JUMPS)}",
        said if jumps else f"not tried, as no clock was changed; {said}",
        "",
        jumps and not left and code == 0 and "Traceback" not in "\n".join(run.lines),
    )
    yield finish(recipe)


def wrong_clock(compiler: str, folder: Path, clock: Path) -> dict[str, str]:
    """Return the variables that give processes the clock that a file sets."""
    library = folder / "clock.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    clock.write_bytes(struct.pack("q", 0))
    return {"LD_PRELOAD": str(library), "FAULT_CLOCK": str(clock)}


def set_clock(clock: Path, days: int) -> None:
    """Set by how many days the clock is ahead; in place, as processes have mapped the file."""
    with clock.open("r+b", buffering=0) as file:
        file.write(struct.pack("q", days * DAY))


def shown_time(environment: dict[str, str]) -> float:
    """Return the seconds that `date` shows with these variables."""
    command = ["date", "+%s"]
    return float(subprocess.check_output(command, env={**os.environ, **environment}))
