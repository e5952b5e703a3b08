"""Lines at the end of terminals that are narrow, or that do not wait for who writes to them."""

import fcntl
import os
import pty
import select
import subprocess
import sys

import pytest
from terminal import Terminal

DRAW = "from speechlm.progress.screen import draw\n"


def started(terminal, root, code):
    return terminal.start([sys.executable, "-c", DRAW + code], env={"PYTHONPATH": str(root)})


@pytest.mark.parametrize("columns", [6, 10, 19, 20, 80])
def test_lines_move_in_terminals_of_any_width(root, columns):
    terminal = Terminal(columns=columns)
    code = "for n in range(3): draw(2, ['stage 7 | units [####]', 'stage 8 | lexicon'])\n"
    process = started(terminal, root, code + "draw(2, [], b'end\\n')")
    assert terminal.watch(process) == ["end", ""]
    assert max(map(len, terminal.seen)) <= 2


def test_nothing_that_is_printed_is_lost_where_a_terminal_does_not_wait(root):
    master, slave = pty.openpty()
    fcntl.fcntl(slave, fcntl.F_SETFL, fcntl.fcntl(slave, fcntl.F_GETFL) | os.O_NONBLOCK)
    code = "draw(2, [], b'x' * 200_000 + b'end\\n')"
    process = subprocess.Popen(
        [sys.executable, "-c", DRAW + code],
        stderr=slave,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    with pytest.raises(subprocess.TimeoutExpired):  # the terminal is full
        process.wait(1)
    read = b""
    while select.select([master], [], [], 1)[0]:
        read += os.read(master, 1 << 16)
    assert process.wait(30) == 0 and read.count(b"x") == 200_000 and read.endswith(b"end\r\n")
