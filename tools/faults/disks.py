"""A disk that fills and has room again, and a folder that cannot be written."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.kills import END_S, last_step
from faults.recipe import Recipe, Run, kill
from faults.table import Outcome, stay

SIZE = "600m"
WAIT_S = 900.0
FULL_AT = (
    ("1", "make the corpus: starts"),
    ("2", "format speech: starts"),
    ("7", "hidden units"),
    ("10", "pre-train speech_text: starts"),
    ("11", "fine-tune speech_text: starts"),
    ("13", "emissions of test"),
)
"""Stages, and what run.sh says when the disk is to be full."""


def may_mount(folder: Path) -> bool:
    """Whether file systems can be mounted here: a folder is, over itself."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", folder, folder]).returncode != 0:
        return False
    subprocess.run(["umount", "--lazy", folder], check=True)
    return True


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small file system at a folder; gives False where that is not allowed here."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "faults", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def leave_free(folder: Path, room: int) -> Path:
    """Fill the disk of a folder but for `room` bytes; return the file that does it."""
    balloon = folder / "balloon"
    free = shutil.disk_usage(folder).free
    with balloon.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - room))
    return balloon


def fill_disk(folder: Path, finish: Callable[[Recipe], Outcome]) -> Iterator[Outcome]:
    """Fill the disk in several stages; each time the run ends, is started again with room."""
    with small_disk(folder) as mounted:
        if not mounted:
            yield Outcome("a full disk", "", "left out: only root can mount one", "", True)
            return
        recipe = Recipe(folder)
        for stage, words in FULL_AT:
            run = recipe.start()
            run.wait_for_stage(int(stage))
            reached = run.wait_for_step(words)
            balloon = leave_free(folder, 100_000)
            code = run.wait(WAIT_S)
            balloon.unlink()
            yield after_full(run, code, f"stage {stage}, {words}", reached)
        yield finish(recipe)


def after_full(run: Run, code: int | None, where: str, reached: bool) -> Outcome:
    """Return what came of a full disk.

    Args:
        run: The run, which has ended, or should have.
        code: Its exit code.
        where: The stage and what it had to say before the disk was filled.
        reached: It said so; else the disk was full at another time, and nothing was tried.
    """
    said = f"code {code}: {run.last_words()}"
    if not reached:
        said = f"not tried, as it never came to this step; {said}"
    # A stage that has written all it had to may come to its end.
    explained = ("room" in said or "free" in said) and run.is_clear()
    left = run.end(END_S)
    good = reached and not left and (code == 0 or (code is not None and explained))
    return Outcome("the disk is full", where, said + stay(left), "", good)


def forbid_writing(folder: Path, finish: Callable[[Recipe], Outcome]) -> Iterator[Outcome]:
    """Make all of a new recipe read-only; then, before its trainings, its folder exp alone."""
    if not may_mount(folder):
        yield Outcome("a read-only folder", "", "left out: only root can mount", "", True)
        return
    recipe = Recipe(folder)
    yield run_read_only(recipe, recipe.folder)
    run = recipe.start()
    run.wait_for_stage(10)
    kill(run.process.pid, signal.SIGTERM)
    run.wait(WAIT_S)
    yield run_read_only(recipe, recipe.folder / "exp")
    yield finish(recipe)


def run_read_only(recipe: Recipe, place: Path) -> Outcome:
    """Run a recipe while a folder of it is mounted over itself, read-only."""
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
    try:
        run = recipe.start()
        code = run.wait(WAIT_S)
        left = run.end(END_S)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
    said = f"code {code}: {run.last_words()}"
    named = "read-only" in said.lower()
    good = code not in (None, 0) and named and run.is_clear() and not left
    return Outcome(f"{place.name} is read-only", last_step(run), said + stay(left), "", good)
