#!/usr/bin/env python3
"""Holds the processes (ranks) of one training on one node: the hand of ranks.py.

    node_ranks.py --per_node N [--node NUMBER] COMMAND [ARGUMENT...]

The node's number is that of its task under srun where it is not given. Orders come by standard
input, a word a line: the name of a signal, which all processes get. When that input ends without
SIGKILL, ranks.py has died: the processes are told to stop. What becomes of them is told on standard
output, in lines of JSON that are short enough for srun to keep whole. What rank 0 writes goes to
standard error as it comes; of the others the end is told where they fail.
"""

import argparse
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time

from process import SAVE_S, die_with_parent

TAIL_BYTES, TAIL_LINES = 16384, 80
TRACEBACK = b"Traceback (most recent call last)"
HOLD_S = 5.0
"""Seconds for which rank 0's traceback is held back: another rank's may be the reason for it."""
PIECE = 200
"""Letters of a line of standard output; srun may mix the longer ones of several nodes."""
POLL_S = 0.05
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE)
"""Signals that come to the group of ranks.py, which gives orders then."""


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Return the numbers of processes and of the node, and the command."""
    parser = argparse.ArgumentParser(prog="node_ranks.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--per_node", type=int, required=True)
    parser.add_argument("--node", type=int, default=os.environ.get("SLURM_PROCID", "0"))
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(argv)


def _prepare() -> None:
    """In a rank, before its command: signals have their usual meaning again."""
    die_with_parent(signal.SIGKILL)
    for signum in IGNORED:
        signal.signal(signum, signal.SIG_DFL)


class Rank:
    """A process of the training, and the end of what it has written.

    It has a session of its own: a signal to the group of ranks.py would come twice otherwise, the
    second time when the process that has saved its state is on its way out.

    Args:
        number: its rank.
        command: what it runs.
        environment: its variables.

    Raises:
        OSError: the command cannot be run.
    """

    def __init__(self, number: int, command: list[str], environment: dict[str, str]) -> None:
        self.number, self.tail, self.held, self.held_at = number, b"", b"", 0.0
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=_prepare,
        )
        assert self.process.stdout is not None
        self.pipe = self.process.stdout.fileno()
        os.set_blocking(self.pipe, False)

    def read(self) -> bool:
        """Take what the process has written; whether there was anything."""
        try:
            data = os.read(self.pipe, 65536)
        except BlockingIOError:
            return False
        if self.number == 0:
            self.show(data)
        self.tail = (self.tail + data)[-TAIL_BYTES:]
        return bool(data)

    def show(self, data: bytes) -> None:
        """Show what rank 0 has written, but for a traceback, which waits for the rank's end."""
        if not self.held:
            place = data.find(TRACEBACK)
            if place < 0:
                _write(data)
                return
            start = data.rfind(b"\n", 0, place) + 1
            _write(data[:start])
            data, self.held_at = data[start:], time.monotonic()
        self.held += data

    def show_held(self) -> None:
        """Show a traceback that was not the end."""
        _write(self.held)
        self.held = b""

    def last_lines(self) -> list[str]:
        """Return the end of what it has written."""
        return self.tail.decode("utf-8", errors="replace").splitlines()[-TAIL_LINES:]


def _write(data: bytes) -> None:
    """Write to standard error; a full disk there does not end a training."""
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        pass


def tell(**values: object) -> None:
    """Write a line for ranks.py; where that has died nobody listens."""
    try:
        print(json.dumps(values, ensure_ascii=False), flush=True)
    except OSError:
        pass


class Node:
    """The ranks of this node, from their start to their end."""

    def __init__(self, command: list[str], node: int, per_node: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.running: list[Rank] = []
        for local in range(per_node):
            number = node * per_node + local
            # As torchrun's; those that all nodes have in common are ranks.py's.
            variables = {"RANK": number, "LOCAL_RANK": local, "LOCAL_WORLD_SIZE": per_node}
            text = {name: str(value) for name, value in variables.items()}
            rank = Rank(number, command, {**os.environ, **text})
            self.running.append(rank)
            self.selector.register(rank.pipe, selectors.EVENT_READ, rank)
        os.set_blocking(0, False)
        self.selector.register(0, selectors.EVENT_READ)
        self.killed = False
        self.kill_at = float("inf")

    def run(self) -> None:
        """Follow the ranks until all have ended."""
        while self.running:
            for key, _ in self.selector.select(POLL_S):
                if key.data is None:
                    self._hear()
                elif not key.data.read():
                    self.selector.unregister(key.fd)
            if time.monotonic() > self.kill_at:
                self.send(signal.SIGKILL)
            for rank in list(self.running):
                if rank.process.poll() is not None:
                    self._end(rank)
                elif rank.held and time.monotonic() > rank.held_at + HOLD_S:
                    rank.show_held()

    def send(self, signum: int) -> None:
        """Send a signal to all ranks that run."""
        self.killed = self.killed or signum == signal.SIGKILL
        for rank in self.running:
            rank.process.send_signal(signum)

    def _hear(self) -> None:
        words = os.read(0, 4096).decode().split()
        for word in words:
            self.send(signal.Signals[word])
        if not words:
            self.selector.unregister(0)
            if not self.killed:
                self.send(signal.SIGTERM)
                self.kill_at = time.monotonic() + SAVE_S

    def _end(self, rank: Rank) -> None:
        """Tell how a rank has ended, and what it wrote last where that was not well."""
        while rank.read():
            pass
        self.running.remove(rank)
        code = rank.process.returncode
        if code == 0:
            rank.show_held()
        for line in rank.last_lines() if code != 0 and not self.killed else []:
            for start in range(0, max(len(line), 1), PIECE):
                tell(rank=rank.number, text=line[start : start + PIECE], new=start == 0)
        host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        tell(rank=rank.number, node=host, code=code, when=time.time(), killed=self.killed)


def main(argv: list[str]) -> int:
    """Run the ranks of this node; the exit code is 0 where their ends were told."""
    args = parse_arguments(argv)
    for signum in IGNORED:
        signal.signal(signum, signal.SIG_IGN)
    try:
        Node(args.command, args.node, args.per_node).run()
    except OSError as error:
        print(f"node_ranks.py: cannot run {args.command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
