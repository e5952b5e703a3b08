"""Who is at work for an output, as the claims beside it say (they are made by `tools/owner.py`).

While a step of a recipe runs, the folder `.NAME.owner` stands beside its output: `run` is the
step's claim, `job.ID` that of each job of a cluster. Here they are only read.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

STALE_S = 60.0
"""Claims are touched every 10 s; one that was not for so long is dead."""


@dataclass(frozen=True)
class Claim:
    """A process that is at work.

    Attributes:
        host: where it is.
        job: of which Slurm job; empty: of none.
        since: wall-clock time at which the claim was made, seconds.
    """

    host: str
    job: str
    since: float


@dataclass(frozen=True)
class Owners:
    """The living claims of an output: the step's, and those of its jobs on a cluster."""

    step: Claim | None
    jobs: tuple[Claim, ...]


def owners_of(output: Path) -> Owners:
    """Who makes an output; what is damaged or going away at this moment is passed over."""
    folder = output.with_name(f".{output.name}.owner")
    jobs = [_living(path) for path in sorted(folder.glob("job.*"))]
    return Owners(_living(folder / "run"), tuple(job for job in jobs if job is not None))


def _living(path: Path) -> Claim | None:
    try:
        with path.open(encoding="utf-8") as file:
            touched = os.fstat(file.fileno()).st_mtime
            known = json.load(file)
        since = time.mktime(time.strptime(known["since"], "%Y-%m-%d %H:%M:%S"))
        claim = Claim(str(known["host"]), str(known["job"]), since)
        if known["machine"] == _machine():
            return claim if _started(int(known["pid"])) == known["start"] else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return claim if time.time() - touched < STALE_S else None


def _machine() -> str:
    """This machine's processes, told from those of others: boot and name space."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return f"{socket.gethostname()} {boot} {space}"


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty: it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    words = text.rpartition(")")[2].split()
    return "" if words[0] in "ZX" else words[19]
