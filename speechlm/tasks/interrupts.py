"""Signals that ask a training to stop: it saves its state and ends with an exit code of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from speechlm.conventions import INTERRUPTED

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""Slurm sends the first before it takes a job's machine away, and the second where it is asked to
(`sbatch --signal`)."""


class Interrupted(SystemExit):
    """Ends the program with `INTERRUPTED`."""

    def __init__(self) -> None:
        super().__init__(INTERRUPTED)


class StopRequest:
    """Remembers that a signal has asked for a stop, which comes at the next update.

    Attributes:
        name: of the signal; empty: none has come.
    """

    name = ""

    def note(self, number: int, _frame: Any) -> None:
        """A signal's handler."""
        self.name = signal.Signals(number).name


def stop_at_once(number: int, _frame: Any) -> None:
    """A signal's handler for the time before and after a training, when nothing can be lost.

    The process that only waits for the workers it has started tells them, and goes on waiting.

    Raises:
        Interrupted: there are none.
    """
    workers = multiprocessing.active_children()
    for worker in workers:
        if worker.pid is not None:
            os.kill(worker.pid, number)
    if not workers:
        raise Interrupted


@contextmanager
def on_signals(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Within the block `SIGNALS` call the handler (in the main thread; others have no handlers).

    They have no effect any longer after `Interrupted`: a second signal (a cluster's, and that of
    who passes it on) would end a process that has saved its state as if it had not.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, handler)) for number in SIGNALS]
    try:
        yield
    except Interrupted:
        before = [(number, signal.SIG_IGN) for number in SIGNALS]
        raise
    finally:
        for number, old in before:
            signal.signal(number, old)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Within the block `SIGNALS` wait, and processes that are started in it never see them.

    For a loader's processes: a signal to the whole group must not end them, as the training needs
    the batches that they are making until it has saved its state.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
