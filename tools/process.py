"""Child processes that never outlive their parent: shared by local.py and step.py.

A run that is stopped, or even killed with signal 9, must not leave jobs behind that go on writing
into directories which the next run uses.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from types import FrameType

PR_SET_PDEATHSIG = 1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Loaded here, not in the forked child, where loading a library may deadlock.
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None


class Stopped(BaseException):
    """Raised in the main thread when the process is told to stop; `code` is its exit code."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.code = 128 + signum


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent process ends, however it ends (Linux only)."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def raise_when_stopped() -> None:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a `Stopped` exception; ignore later ones."""

    def handler(signum: int, frame: FrameType | None) -> None:
        for other in STOP_SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(signum)

    for signum in STOP_SIGNALS:
        signal.signal(signum, handler)


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


def stop(processes: Iterable[subprocess.Popen], grace_s: float = 10.0) -> None:
    """End the process groups: SIGTERM, and SIGKILL for what is left after `grace_s` seconds."""
    processes = list(processes)
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for process in processes:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
    for process in processes:
        _signal_group(process, signal.SIGKILL)
        process.wait()
