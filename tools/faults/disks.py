"""A disk that fills and has room again, and a folder that cannot be written."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.kills import last_step
from faults.recipe import Recipe, kill
from faults.table import Outcome

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
            run.wait_for_step(words)
            balloon = leave_free(folder, 100_000)
            code = run.wait(WAIT_S)
            said = f"code {code}: {run.last_words()}"
            # A stage that has written all it had to may come to its end.
            good = code is not None and (code == 0 or ("room" in said or "free" in said))
            balloon.unlink()
            run.end()
            yield Outcome(
                "the disk is full", f"stage {stage}, {words}", said, "", good and run.is_clear()
            )
        yield finish(recipe)


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
        run.end()
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
    said = f"code {code}: {run.last_words()}"
    good = code not in (None, 0) and "read" in said and run.is_clear()
    return Outcome(f"{place.name} is read-only", last_step(run), said, "", good)
