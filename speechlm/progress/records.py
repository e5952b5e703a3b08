"""Records of running programs: a small file for each in a folder, read by who has a terminal.

The folder is named by the environment. It is on the file system that all machines of a recipe
share, so that the jobs of a cluster are seen as well.
"""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from speechlm.progress.words import State

FOLDER = "SPEECHLM_PROGRESS"
"""The variable that names the folder."""
JOBS = "SPEECHLM_JOBS"
"""The variable that says of how many like jobs a program is one."""
SHOWN = "SPEECHLM_SHOWN"
"""The variable with the identity of the stderr on which the records are shown by their reader."""
_AFTER_S = 1.0
"""Seconds from which on a loop's rate says something."""


@dataclass(frozen=True)
class Record:
    """What a program says of its loop.

    Attributes:
        program: its name.
        what, done, total, more: see `State`.
        first: items that an earlier run had done.
        seconds: since the loop began.
        began: wall-clock time, seconds.
        jobs: like ones that there are.
        ended: whether the loop is over; what the program does now is not counted.
    """

    program: str
    what: str
    done: float
    total: float | None
    more: str
    first: float
    seconds: float
    began: float
    jobs: int
    ended: bool = False

    def check(self) -> None:
        """Say whether it can be what `write_record` has written.

        Raises:
            TypeError: a value is not of its kind, or not finite.
        """
        known = [self.done, self.first, self.seconds, self.began, self.jobs]
        numbers = known if self.total is None else [*known, self.total]
        if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
            raise TypeError(f"finite numbers expected: {numbers}")
        if not all(isinstance(x, str) for x in (self.program, self.what, self.more)):
            raise TypeError("texts expected")

    @property
    def rate(self) -> float:
        """Items a second, of this run."""
        return (self.done - self.first) / self.seconds if self.seconds >= _AFTER_S else 0.0

    def state(self) -> State:
        """The loop for itself."""
        return State(self.what, self.done, self.total, self.rate, self.more)


def identity(descriptor: int) -> str:
    """What tells an open file from others of this machine."""
    status = os.fstat(descriptor)
    return f"{status.st_dev}:{status.st_ino}:{status.st_rdev}"


def write_record(folder: Path, record: Record) -> None:
    """Write this process's record, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / f"{socket.gethostname()}.{os.getpid()}.json"
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")
    os.replace(temporary, path)


def read_records(folder: Path) -> list[Record]:
    """All records of a folder; what is damaged or going away at this moment is left out."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            record = Record(**{part.name: values[part.name] for part in fields(Record)})
            record.check()
            found.append(record)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
    return found


def together(records: Sequence[Record]) -> State | None:
    """Like jobs as one: those that do what the newest loop does; None where there is no record.

    Jobs that have not begun are counted as large as those that have.
    """
    if not records:
        return None
    newest = max(records, key=lambda record: record.began)
    like = [r for r in records if (r.program, r.what) == (newest.program, newest.what)]
    jobs = max(1, newest.jobs)
    if jobs > 1:  # without those of attempts that were lost
        like = sorted(like, key=lambda record: record.began)[-jobs:]
    done = sum(record.done for record in like)
    if len(like) >= jobs and all(record.ended for record in like):
        return State(newest.what, done, more="done")
    jobs = max(jobs, len(like))
    totals = [record.total for record in like if record.total is not None]
    total = sum(totals) * jobs / len(like) if len(totals) == len(like) else None
    # Jobs that are through give no speed any longer.
    running = [record for record in like if record.total is None or record.done < record.total]
    rate = sum(record.rate for record in running or like)
    more = [record.more for record in like if record.more]
    if jobs > 1:
        more.append(f"{len(like)} of {jobs} jobs begun" if len(like) < jobs else f"{jobs} jobs")
    return State(newest.what, done, total, rate, ", ".join(more))
