"""Child processes that never outlive their parent: shared by the launchers and step.py.

A run that is stopped, or even killed with signal 9, must not leave jobs behind that go on writing
into directories which the next run uses.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PROC = Path("/proc")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAVED = 75
"""Exit code of a training that was told to stop, and has saved its state (`INTERRUPTED` in
speechlm/conventions.py)."""
SAVE_S = 60.0
"""Seconds that what was told to stop has to save its state."""
# Loaded here, not in the forked child, where loading a library may deadlock.
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None


class Stopped(BaseException):
    """Raised in the main thread when the process is told to stop; `code` is its exit code."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.code = 128 + signum


def die_with_parent(signum: int = signal.SIGTERM) -> None:
    """Ask the kernel for a signal when the parent process ends, however it ends (Linux only)."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signum)


def raise_when_stopped() -> None:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a `Stopped` exception; ignore later ones."""

    def handler(signum: int, frame: FrameType | None) -> None:
        for other in STOP_SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(signum)

    for signum in STOP_SIGNALS:
        signal.signal(signum, handler)


def how_it_ended(code: int, otherwise: str) -> str:
    """Return how a command ended that did not end well, by its exit code.

    Args:
        code: As subprocess gives it, -N for signal N; or as shells do, 128 + N.
        otherwise: What is said before a code that is no signal's.
    """
    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        return "was killed (signal 9, by someone or by the system for want of memory)"
    if code < 0 or number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL):
        return f"was ended by signal {number} ({signal.Signals(number).name})"
    return f"{otherwise} code {code}"


def catches(pid: int, signum: int) -> bool:
    """Whether a process has a handler for a signal (Linux only); others might be ended by it."""
    try:
        lines = (PROC / str(pid) / "status").read_text(errors="replace").splitlines()
    except OSError:
        return False
    masks = [line.split()[1] for line in lines if line.startswith("SigCgt:")]
    return any(int(mask, 16) >> (signum - 1) & 1 for mask in masks)


def pass_on_usr1(processes: Callable[[], Iterable[subprocess.Popen]]) -> None:
    """From now on pass SIGUSR1 on to those that handle it: it asks trainings to save and end."""

    def handler(signum: int, frame: FrameType | None) -> None:
        for process in list(processes()):
            if process.returncode is None and catches(process.pid, signum):
                os.kill(process.pid, signum)

    signal.signal(signal.SIGUSR1, handler)


@contextmanager
def not_stopped() -> Iterator[None]:
    """Put off what `raise_when_stopped` raises until the block has come to its end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock() -> None:
    """In a child that was started within `not_stopped`: let signals through again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _prepare_child() -> None:
    die_with_parent()
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_DFL)


def start(command: Sequence[str], **options) -> subprocess.Popen:
    """Start a command in a process group of its own, which ends when this process ends.

    Open file descriptors marked inheritable are handed on (step.py's lock is one).
    """
    return subprocess.Popen(
        command, start_new_session=True, preexec_fn=_prepare_child, close_fds=False, **options
    )


def _signal_group(process: subprocess.Popen, signum: int) -> None:
    try:
        os.killpg(process.pid, signum)
    except (ProcessLookupError, PermissionError):
        pass


def members(group: int) -> list[int]:
    """Return the processes of a group that still run (those that have ended may lie as zombies).

    Where there is no /proc: the group itself, as long as anything is left of it.
    """
    if not PROC.is_dir():
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return []
        return [group]
    found = []
    for path in PROC.glob("[0-9]*/stat"):
        try:
            # Behind the name in parentheses, which may hold anything: state, parent, group.
            state, _, pgrp = path.read_text(errors="replace").rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(pgrp) == group and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def stop(processes: Iterable[subprocess.Popen], grace_s: float = 10.0) -> None:
    """End the process groups: SIGTERM, and SIGKILL for what is left after `grace_s` seconds.

    All of a group is waited for: when the shell of a script has ended, the launcher that it had
    started may still be busy with cancelling the jobs of a cluster.
    """
    processes = list(processes)
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for process in processes:
        # The child itself is looked at first: it is no member any longer once it was waited for.
        while process.poll() is None or members(process.pid):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    for process in processes:
        _signal_group(process, signal.SIGKILL)
        process.wait()
