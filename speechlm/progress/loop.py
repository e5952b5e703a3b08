"""Loops that say how far they have come."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from speechlm.progress import screen
from speechlm.progress.records import FOLDER, JOBS, SHOWN, Record, identity, write_record
from speechlm.progress.words import due_times, line, plain

Item = TypeVar("Item")
_EVERY_S = 1.0
"""Seconds from one record, or line on a terminal, to the next."""
_STDERR = 2


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, one by one, while their number is shown.

    Args:
        items: of a loop.
        what: they are, in the plural.
        total: how many there are; None: what `len` says, if it says anything.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(what, total) as shown:
        for item in items:
            yield item
            shown.advance()


def show_progress() -> None:
    """From now on this process shows its loops itself; programs ask for it, libraries do not."""
    Progress._by_hand = True


class Progress:
    """A loop whose steps are said by `advance`; use it as a context, or `close` it.

    Args:
        what: its items, in the plural.
        total: how many there are, if that is known.
        first: how many of them an earlier run has done.

    Attributes:
        done: items that are behind it.
    """

    _active: Progress | None = None
    _by_hand = False

    def __init__(self, what: str, total: float | None = None, first: float = 0) -> None:
        self.what, self.total, self.first, self.done = what, total, first, first
        self.more = ""
        self._wall, self._began = time.time(), time.monotonic()
        self._due = float("inf")
        if Progress._active is None and not _is_helper():
            Progress._active = self
            self._open()

    def _open(self) -> None:
        folder = os.environ.get(FOLDER, "")
        self._folder = Path(folder) if folder else None
        self._draws = Progress._by_hand and not folder and screen.is_terminal(_STDERR)
        self._process = os.getpid()
        self._lines = due_times()
        self._next_line = float("inf")
        if Progress._by_hand and not self._draws and not _is_shown_elsewhere():
            self._next_line = next(self._lines)
        self._due = 0.0
        self.advance(0)

    def __enter__(self) -> Progress:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The loop has ended."""
        self.close()

    def advance(self, count: float = 1, more: str = "") -> None:
        """Note that so many items more are done.

        Args:
            count: of items.
            more: what else is to be shown, such as `loss 3.01`.
        """
        self.done += count
        if more:
            self.more = more
        seconds = time.monotonic() - self._began
        if seconds >= self._due:
            self._due = seconds + _EVERY_S
            self._show(seconds)

    def skip(self, count: float) -> None:
        """Note that so many items more were done before, in no time."""
        self.first += count
        self.advance(count)

    def reach(self, done: float) -> None:
        """Note how many items are done in all."""
        self.advance(done - self.done)

    def close(self) -> None:
        """Show what was done at the end; a line of a terminal goes."""
        if Progress._active is not self:
            return
        Progress._active = None
        if self._folder is not None:
            self._show(time.monotonic() - self._began, ended=True)
        if self._draws:
            self._draw([])

    def _show(self, seconds: float, ended: bool = False) -> None:
        if os.getpid() != self._process:  # a child, into which the loop was copied
            return
        record = Record(
            program=Path(sys.argv[0]).stem,
            what=self.what,
            done=self.done,
            total=self.total,
            more=self.more,
            first=self.first,
            seconds=seconds,
            began=self._wall,
            jobs=int(os.environ.get(JOBS) or 1),
            ended=ended,
        )
        if self._folder is not None:
            try:
                write_record(self._folder, record)
            except OSError:  # the work goes on, seen or unseen
                self._folder = None
        state = record.state()
        if self._draws:
            self._draw([line(record.program, state, seconds, screen.width_of(_STDERR))])
        if seconds >= self._next_line:
            while self._next_line <= seconds:
                self._next_line = next(self._lines)
            import logging  # where steps are only looked at, it would cost time

            logging.info("%s", plain(state))

    def _draw(self, lines: list[str]) -> None:
        try:
            screen.draw(_STDERR, lines)
        except OSError:  # the terminal is gone
            self._draws = False


def _is_helper() -> bool:
    """Whether another process has this one do a part of its work, and shows the whole."""
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None


def _is_shown_elsewhere() -> bool:
    """Whether stderr is where a reader of the records shows them."""
    try:
        return os.environ.get(SHOWN) == identity(_STDERR)
    except OSError:  # it is closed
        return True
