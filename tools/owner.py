"""Who makes an output: a lock beside it, which every host of a shared file system sees.

While a step runs, the folder `.NAME.owner` stands beside its output. In it are claims: `run` is the
step's own, and `job.ID` is that of each job that runs for it by way of a cluster (hold.py). A claim
is a file that only one can make (O_EXCL); it names host, process and a token, and is touched every
few seconds by a process beside the one that holds it. On its own machine a claim lives as long as
the process, or another one that has the token in its environment; on others as long as it is
touched, and so do claims of other users, whose processes may be hidden here. A dead claim is taken
over. A job begins only while the `run` of its own step is there, so
that one which waited in a queue meanwhile does nothing.
"""

import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import FrameType

BEAT_S = 10.0
STALE_S = 60.0
"""A claim of another machine that was not touched for so long is dead."""
WATCH_S = 2.5 * BEAT_S
"""Seconds for which it must be seen untouched, too: the clocks of hosts may differ by hours."""
LOOK_S = 0.2
PROC = Path("/proc")
TOKEN = "SPEECHLM_STEP"
"""The variable by which the processes of a step know its token."""
RUN = "SPEECHLM_RUN"
"""The variable with the number of the shell that runs a recipe, which its steps do not outlive."""


class Taken(Exception):
    """Another run makes the output; the text says which one."""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def machine() -> str:
    """Return what tells this machine's processes from those of others: boot and name space."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()} {_read('/proc/sys/kernel/random/boot_id')} {space}"


def started(pid: int) -> str:
    """Return when a process began, in the kernel's ticks ("" if it has ended)."""
    try:
        words = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] in "ZX" else words[19]


def cluster_job() -> str:
    """Return the id of the Slurm job that this process is part of ("" if it is of none)."""
    array, place = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{place}" if array and place else os.environ.get("SLURM_JOB_ID", "")


@dataclass(frozen=True)
class Claim:
    """A process that makes an output: where it is, and since when (local time)."""

    token: str
    pid: int = field(default_factory=os.getpid)
    start: str = field(default_factory=lambda: started(os.getpid()))
    host: str = field(default_factory=socket.gethostname)
    machine: str = field(default_factory=machine)
    job: str = field(default_factory=cluster_job)
    since: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M:%S"))

    def __str__(self) -> str:
        """Return where it runs and how it can be ended."""
        text = f"process {self.pid} on {self.host}, since {self.since}"
        how = f"scancel {self.job}" if self.job else f"kill {self.pid} on {self.host}"
        return (f"Slurm job {self.job}, " if self.job else "") + f"{text} ({how} ends it)"


def make_claim(path: Path, claim: Claim) -> None:
    """Write a claim.

    Raises:
        FileExistsError: There is one already.
        FileNotFoundError: The folder is gone.
    """
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        os.write(file, json.dumps(asdict(claim)).encode())
    finally:
        os.close(file)


def read_claim(path: Path) -> tuple[Claim | None, float]:
    """Return a claim and when it was touched last; None for one that is not there or not whole."""
    try:
        with path.open(encoding="utf-8") as file:  # opened: a network's client asks its server
            touched = os.fstat(file.fileno()).st_mtime
            known = json.load(file)
            return Claim(**{part.name: known[part.name] for part in fields(Claim)}), touched
    except FileNotFoundError:
        return None, 0.0
    except (ValueError, TypeError, KeyError):
        return None, touched


def _has_token(token: str) -> bool:
    wanted = f"{TOKEN}={token}".encode()
    for path in PROC.glob("[0-9]*/environ"):
        try:
            if wanted in path.read_bytes().split(b"\0"):
                return True
        except OSError:  # it has ended, or is another user's
            continue
    return False


def mark(path: Path, token: str) -> str:
    """Return the value of `TOKEN` in the processes of a step, or of one of its jobs."""
    return token if path.name == "run" else f"{token}.{path.name}"


_SEEN: dict[Path, tuple[float, float]] = {}


def untouched_s(path: Path, touched: float) -> float:
    """Return for how many seconds this process has seen a claim with the same time of its file."""
    if _SEEN.get(path, (0.0, 0.0))[0] != touched:
        _SEEN[path] = touched, time.monotonic()
    return time.monotonic() - _SEEN[path][1]


def _is_mine(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.geteuid()
    except OSError:
        return True


def is_alive(path: Path, claim: Claim | None, touched: float) -> bool:
    """Whether a claim is held by a process that still runs, as far as can be seen from here."""
    if claim is not None and claim.machine == machine():
        if started(claim.pid) == claim.start != "" or _has_token(mark(path, claim.token)):
            return True
        if _is_mine(path):
            return False
    # By the clock of the file system, which is not always this machine's; some keep that of
    # whoever touched the file.
    look = path.with_name(f"look.{secrets.token_hex(8)}")  # hosts may have the same process numbers
    try:
        with look.open("w") as file:
            now = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:  # its owner has removed the folder meanwhile
        return False
    look.unlink()
    return untouched_s(path, touched) < (STALE_S if now - touched < STALE_S else WATCH_S)


def take_away(path: Path, token: str) -> None:
    """Remove a dead claim, and no other one that has come into its place meanwhile."""
    grave = path.with_name(f"dead.{secrets.token_hex(8)}")
    try:
        os.rename(path, grave)
    except FileNotFoundError:
        return
    claim, _ = read_claim(grave)
    if claim is not None and claim.token != token:
        try:
            make_claim(path, claim)
        except FileExistsError:  # its owner will see that at the next beat
            pass
    grave.unlink()


def keep_touched(path: Path, claim: Claim, shell: int = 0) -> int:
    """Start a process that touches a claim while this one lives; return its number.

    Where the claim is lost (this machine was asleep for a while, and another took it over) this
    process gets SIGTERM, and when the process `shell` ends, if one is given. When this process has
    ended the claim is removed.
    """
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        _touch(path, claim, parent, shell)
    finally:
        os._exit(0)


def _touch(path: Path, claim: Claim, parent: int, shell: int) -> None:
    next_beat = time.monotonic() + BEAT_S
    shell_start = started(shell) if shell else ""
    while os.getppid() == parent:
        time.sleep(LOOK_S)
        if shell_start and started(shell) != shell_start:
            os.kill(parent, signal.SIGTERM)
            shell_start = ""
        if time.monotonic() < next_beat:
            continue
        next_beat += BEAT_S
        try:
            found, _ = read_claim(path)
            if found is None or found.token != claim.token:
                os.kill(parent, signal.SIGTERM)
                return
            os.utime(path)
        except OSError:  # of the file system: it may be back at the next beat
            continue
    if path.name != "run":  # a step that was killed may have left jobs: its claim says so
        remove_claim(path, claim.token)


def remove_claim(path: Path, token: str) -> None:
    """Remove an own claim, and the folder if it was the last one."""
    claim, _ = read_claim(path)
    try:
        if claim is not None and claim.token == token:
            path.unlink()
            path.parent.rmdir()
    except OSError:  # other claims are there
        pass


def _claim_run(path: Path, claim: Claim, say: Callable[[str], None], wait_s: float) -> None:
    """Make the claim of a step; wait for one that may be ending, or may turn out to be dead."""
    begun, first, told = time.monotonic(), None, False
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return make_claim(path, claim)
        except FileNotFoundError:  # the folder was removed by who had it
            continue
        except FileExistsError:
            other, touched = read_claim(path)
        if other is None and touched == 0.0:
            continue
        if not is_alive(path, other, touched):
            take_away(path, other.token if other else "")
            continue
        first = touched if first is None else first
        waited = time.monotonic() - begun
        # What another machine has touched since the first look lives, else time will tell.
        certain = other is not None and (other.machine == machine() or touched > first)
        if certain and waited > wait_s:
            raise Taken(str(other))
        if waited > 1 and not told:
            unknown = f"its claim {path} cannot be read, and counts for {STALE_S:.0f} s"
            say(f"waits for another run: {other or unknown}")
            told = True
        time.sleep(LOOK_S)


def living_jobs(folder: Path) -> list[Claim]:
    """Return the claims of the jobs that are at work for an output."""
    claims = [(path, *read_claim(path)) for path in sorted(folder.glob("job.*"))]
    return [claim for path, claim, touched in claims if claim and is_alive(path, claim, touched)]


def _wait_for_jobs(folder: Path, say: Callable[[str], None]) -> None:
    """Wait for the jobs that an earlier run of the step has left, as long as they run."""
    told = set()
    while paths := sorted(folder.glob("job.*")):
        for path in paths:
            claim, touched = read_claim(path)
            if touched and not is_alive(path, claim, touched):
                path.unlink(missing_ok=True)
            elif touched and path.name not in told:
                told.add(path.name)
                verb = "is" if time.time() - touched < STALE_S else "may be"
                say(f"an earlier run {verb} at work still, and is waited for: {claim}")
        time.sleep(LOOK_S)


@contextmanager
def owned(folder: Path, say: Callable[[str], None], wait_s: float) -> Iterator[str]:
    """Own an output while the block runs; gives the token that its processes are to have.

    Args:
        folder: Where the claims are (`.NAME.owner`).
        say: Tells the user what is waited for.
        wait_s: Seconds in which another run may come to its end.

    Raises:
        Taken: Another run, on this machine or another one, makes the output.
        OSError: The claim cannot be written.
    """
    claim, path = Claim(secrets.token_hex(8)), folder / "run"
    _claim_run(path, claim, say, wait_s)
    shell = os.environ.get(RUN, "")
    try:
        with _kept(path, claim, int(shell) if shell.isdecimal() else 0):
            _wait_for_jobs(folder, say)
            yield claim.token
    finally:
        remove_claim(path, claim.token)


@contextmanager
def _kept(path: Path, claim: Claim, shell: int) -> Iterator[None]:
    """Have a claim touched while the block runs; what touches it is replaced if it is killed."""
    keeper = keep_touched(path, claim, shell)

    def replace(signum: int, frame: FrameType | None) -> None:
        nonlocal keeper
        ended, status = os.waitpid(keeper, os.WNOHANG) if keeper else (0, 0)
        if ended:  # else it was another child
            keeper = 0
            if os.WIFSIGNALED(status):  # else it has told of a lost claim
                keeper = keep_touched(path, claim, shell)

    before = signal.signal(signal.SIGCHLD, replace)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)
        if keeper:
            os.kill(keeper, signal.SIGKILL)
            os.waitpid(keeper, 0)
