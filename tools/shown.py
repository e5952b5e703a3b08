"""Shows how far the command of a step has come: a line that moves, or plain lines now and then.

The processes of the command write records into a folder (`speechlm/progress`), on whatever machine
they run. On a terminal all that the command prints comes by way of a pipe, so that it is written
above the line. Steps that run side by side on one terminal each draw the lines of all.
"""

import os
import select
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from speechlm.progress import records, screen, words
from speechlm.progress.screen import ERASE, is_terminal  # noqa: F401

STDOUT, STDERR = 1, 2
EVERY_S = 1.0
"""Seconds from one drawing to the next."""
PRINTED_S = 2.0
"""Seconds in which what a command has printed must be read after its end."""
STALE_S, DEAD_S = 5.0, 60.0
"""Lines of other steps that were not renewed for so long are not drawn, or removed."""


class OtherLines:
    """The lines of the other steps of a terminal, by way of a folder of this machine."""

    def __init__(self) -> None:
        terminal = os.fstat(STDERR).st_rdev
        private = Path(tempfile.gettempdir(), f"speechlm-{os.getuid()}")
        self.folder = private / f"terminal-{terminal}"
        self.own = self.folder / f"{time.time_ns():020d}.{os.getpid()}"
        try:
            private.mkdir(mode=0o700, exist_ok=True)
            status = private.lstat()
            # Whoever else can write there could draw on this terminal.
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                raise PermissionError(private)
            self.folder.mkdir(exist_ok=True)
            self.usable = True
        except OSError:
            self.usable = False

    def with_own(self, line: str) -> list[str]:
        """Return the lines of all steps, in the order in which they began."""
        if not self.usable:
            return [line]
        lines = {self.own.name: line}
        try:
            part = self.own.with_suffix(f".{os.getpid()}.part")
            part.write_text(line, encoding="utf-8")
            os.replace(part, self.own)
            for path in self.folder.iterdir():
                age = time.time() - path.stat().st_mtime
                if age > DEAD_S:
                    path.unlink()
                elif age < STALE_S and path != self.own and path.suffix != ".part":
                    lines[path.name] = path.read_text(encoding="utf-8")
        except (OSError, ValueError):  # another step has just ended; or the disk is full
            pass
        return [lines[name] for name in sorted(lines)]

    def leave(self) -> None:
        """Remove the own line."""
        try:
            self.own.unlink(missing_ok=True)
            self.folder.rmdir()
        except OSError:  # of others there are some
            pass


class Shown:
    """Shows a step, from `begin` to `end`.

    Args:
        head: what its lines begin with.
        folder: for the records of the command's processes.
        say: prints a line of the step, where lines cannot move.
    """

    def __init__(self, head: str, folder: Path, say: Callable[[str], None]) -> None:
        self.head, self.folder, self.say = head, folder.absolute(), say
        self.pipe: tuple[int, int] | None = None
        if screen.is_terminal(STDERR):
            self.pipe = os.pipe()
            self.others = OtherLines()
        self.over = threading.Event()
        self.thread: threading.Thread | None = None
        self.printing, self.unfinished = True, b""

    def environment(self) -> dict[str, str]:
        """Return the variables that tell the command where its records go, and who shows them."""
        shutil.rmtree(self.folder, ignore_errors=True)  # of a step that was killed
        with suppress(OSError):  # the command is not held up by what cannot be shown
            self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = self.pipe[1] if self.pipe else STDERR
        return {records.FOLDER: str(self.folder), records.SHOWN: records.identity(descriptor)}

    def streams(self) -> dict[str, int]:
        """Return the streams that the command gets: those of a terminal are read by `Shown`."""
        if self.pipe is None:
            return {}
        streams = {"stderr": self.pipe[1]}
        if os.isatty(STDOUT):
            streams["stdout"] = self.pipe[1]
        return streams

    def begin(self) -> None:
        """Show, from now on; the command has been started."""
        self.began = time.monotonic()
        if self.pipe is not None:
            os.close(self.pipe[1])
        run = self._draw_lines if self.pipe is not None else self._say_lines
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Show no longer; what the command has printed to its end is printed."""
        self.over.set()
        if self.thread is not None:
            self.thread.join(PRINTED_S)
        elif self.pipe is not None:
            os.close(self.pipe[1])
        if self.pipe is not None:
            os.close(self.pipe[0])
            self.others.leave()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _draw_lines(self) -> None:
        due, lines = self.began + EVERY_S, list[str]()
        while not self.over.is_set():
            text = self._printed(min(max(0.0, due - time.monotonic()), 0.2))
            if time.monotonic() >= due:
                due = time.monotonic() + EVERY_S
                lines = self.others.with_own(self._line())
            elif not text:
                continue
            self._write(lines, text or b"")
        text = b""
        while self.printing and (more := self._printed(0.0)) is not None:
            text += more
        if self.unfinished:  # what follows is on a line of its own
            text += self.unfinished + b"\n"
        self.others.leave()
        self._write([], text)

    def _printed(self, wait: float) -> bytes | None:
        """Return whole lines that the command has printed; None: nothing within so many seconds."""
        assert self.pipe is not None
        if not self.printing:
            self.over.wait(wait)
            return None
        if not select.select([self.pipe[0]], [], [], wait)[0]:
            return None
        data = os.read(self.pipe[0], 1 << 16)
        self.printing = bool(data)  # it may close its streams, and go on
        whole, end, self.unfinished = (self.unfinished + data).rpartition(b"\n")
        return whole + end

    def _write(self, lines: list[str], text: bytes) -> None:
        try:
            screen.draw(STDERR, lines, text)
        except OSError:  # the terminal is gone; the command is not held up by that
            pass

    def _line(self) -> str:
        seconds = time.monotonic() - self.began
        state = records.together(records.read_records(self.folder))
        if state is None:
            return f"{self.head} {words.clock(seconds)}"
        return words.line(self.head, state, seconds, screen.width_of(STDERR))

    def _say_lines(self) -> None:
        for due in words.due_times():
            if self.over.wait(max(0.0, self.began + due - time.monotonic())):
                return
            state = records.together(records.read_records(self.folder))
            seconds = words.clock(time.monotonic() - self.began)
            self.say(words.plain(state) if state else f"at work for {seconds}")
