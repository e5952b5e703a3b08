"""Programs on a terminal that is pretended, and what somebody in front of it sees."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path

TOKENS = re.compile(r"\x1b\[(\d*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Screen:
    """As much of a terminal as our programs use: lines, the cursor's place, what is erased."""

    def __init__(self, columns: int) -> None:
        self.columns, self.lines, self.row, self.column = columns, [""], 0, 0

    def write(self, text: str) -> None:
        for number, order, back, new, plain in TOKENS.findall(text):
            if order:
                self._obey(order, int(number or 1))
            elif back:
                self.column = 0
            elif new:
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            else:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = (
                    line[: self.column] + plain + line[self.column + len(plain) :]
                )
                self.column += len(plain)
                assert self.column < self.columns, f"breaks: {plain!r}"

    def _obey(self, order: str, number: int) -> None:
        if order == "A":
            self.row = max(0, self.row - number)
        else:
            assert order == "J", order
            self.lines = [*self.lines[: self.row], self.lines[self.row][: self.column]]


class Terminal:
    """A pseudo-terminal, on which programs are started; `seen` has its lines after each reading."""

    def __init__(self, columns: int = 100, rows: int = 24) -> None:
        self.master, self.slave = pty.openpty()
        ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen, self.seen = Screen(columns), list[list[str]]()

    def start(self, command: Sequence[str | Path], **options) -> subprocess.Popen:
        environment = {**os.environ, "TERM": "xterm", **options.pop("env", {})}
        return subprocess.Popen(
            command,
            **{"stdin": self.slave, "stdout": self.slave, "stderr": self.slave, **options},
            env=environment,
            # A shell starts what is in its background with this signal ignored, the tests, too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def watch(self, *processes: subprocess.Popen, seconds: float = 60.0) -> list[str]:
        """Read until they have ended; return what is seen then."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = all(process.poll() is not None for process in processes)
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                self.screen.write(os.read(self.master, 1 << 16).decode())
                self.seen.append([line.rstrip() for line in self.screen.lines])
            elif ended:
                return self.seen[-1] if self.seen else []
        raise TimeoutError("the programs have not ended")
