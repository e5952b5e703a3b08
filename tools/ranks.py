#!/usr/bin/env python3
"""Starts the processes (ranks) of one training, and says whose error came first where one fails.

    ranks.py [option...] COMMAND [ARGUMENT...]

    --nodes N        nodes; more than one are those of the Slurm job in which this runs
    --per_node N     processes on each of them, one for each GPU if there are GPUs
    --num_threads N  threads of each process
    --cpu            without GPUs

The processes find each other by the variables that torchrun sets, too (RANK, WORLD_SIZE,
MASTER_ADDR, ...). What rank 0 writes is shown; of the others only the end, where they fail. One
that fails ends all, and what it wrote last is shown at the end: not what the others say of its
death. SIGUSR1 and SIGTERM (and SIGINT, SIGHUP) are passed on to all. The exit code is 75 where they
have saved their state then.
"""

import argparse
import json
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from process import SAVE_S, SAVED, die_with_parent

NODE_RANKS = Path(__file__).resolve().with_name("node_ranks.py")
FIRST_PORT, PORTS = 20000, 12000
"""Ports below those that the system gives to whoever asks for any (from 32768 on)."""
STRIDE = 7919
"""Jobs that follow each other, often on one node, have ports far apart; it is prime to `PORTS`."""
ECHO_S = 5.0
"""Seconds that a rank has to tell its own error when another has told that its peer is gone."""
KILL_S = 15.0
"""Seconds in which nodes must tell that killed ranks have ended."""

TRACEBACK = "Traceback (most recent call last)"
TORCHS = re.compile(r"^\[rank\d+\]: ?")
"""What torch puts before each line of a traceback."""
ERROR = re.compile(r"(\[rank\d+\]:\s*)?([\w.]*(Error|Exception)\b|error: ).*")
"""A line that says why a program has failed."""
ECHO = re.compile(
    r"connection (was )?(closed|reset|refused)|broken pipe|socket (closed|timeout)|NCCL|gloo"
    r"|Dist(Backend|Network|Store)?Error|remote process|process ?group|TCPStore|watchdog",
    re.IGNORECASE,
)
"""Words of an error that is the consequence of another rank's end."""


class UsageError(ValueError):
    """The training cannot be started like this."""


@dataclass
class End:
    """How a rank has ended: on which node, its code (negative: signal), when, its last lines."""

    rank: int
    node: str
    code: int
    when: float
    killed: bool
    text: list[str] = field(default_factory=list)

    def reason(self) -> str:
        """Return the line that says why it failed ("" if there is none)."""
        found = [line for line in self.text if ERROR.match(line)]
        return found[-1] if found else " ".join(self.text[-3:])

    def last_words(self) -> list[str]:
        """Return its last lines, from its traceback on where there is one."""
        starts = [i for i, line in enumerate(self.text) if TRACEBACK in line]
        return [TORCHS.sub("", line) for line in self.text[starts[0] if starts else 0 :]]

    def is_echo(self) -> bool:
        """Whether it failed because another rank was gone."""
        return (self.code > 0 or self.code == -signal.SIGABRT) and bool(ECHO.search(self.reason()))

    def how(self) -> str:
        """Return how it ended, in words."""
        if self.code >= 0:
            return f"ended with code {self.code}"
        name = signal.Signals(-self.code).name
        hint = ": out of memory, or killed by hand" if -self.code == signal.SIGKILL else ""
        return f"was ended by {name}{hint}"


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Return the options and the command."""
    parser = argparse.ArgumentParser(
        prog="ranks.py",
        usage="ranks.py [option...] COMMAND [ARGUMENT...]",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("nodes", "per_node", "num_threads"):
        parser.add_argument(f"--{name}", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--cpu", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    for name in ("nodes", "per_node", "num_threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; it can be 1 or more")
    if not args.command:
        parser.error("a command is wanted")
    return args


def say(text: str) -> None:
    """Print a line for the user."""
    print(f"ranks.py: {text}", file=sys.stderr, flush=True)


def ask_slurm(*words: str) -> str:
    """Return what a command of Slurm's says.

    Raises:
        UsageError: It fails.
    """
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise UsageError(f"{' '.join(words)} fails: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def check_job(nodes: int) -> None:
    """Make sure that other nodes can be reached, before anything is started on one of them.

    Raises:
        UsageError: This is no job of Slurm, or one of fewer nodes.
    """
    if "SLURM_JOB_ID" not in os.environ:
        raise UsageError(
            f"{nodes} nodes are wanted (--num_nodes), and this is no job of Slurm, by which they "
            "are reached: give ./run.sh --cluster slurm, or leave --num_nodes out"
        )
    for name in ("srun", "scontrol"):
        if shutil.which(name) is None:
            raise UsageError(
                f"{nodes} nodes are wanted (--num_nodes), and {name}, which reaches them, is not "
                f"on this one: PATH is {os.environ.get('PATH', '')}"
            )
    given = os.environ.get("SLURM_JOB_NUM_NODES", os.environ.get("SLURM_NNODES", "1"))
    if given != str(nodes):
        raise UsageError(
            f"{nodes} nodes are wanted (--num_nodes), and this job of Slurm has {given}: the "
            "configuration of the launcher must ask for them (option num_nodes=* --nodes=$0)"
        )


def first_host() -> str:
    """Return the name or address of the job's first node, on which rank 0 runs.

    Slurm's names need not be known to the network; then its address is asked for.

    Raises:
        UsageError: Slurm does not say which nodes the job has.
    """
    nodes = os.environ.get("SLURM_JOB_NODELIST") or os.environ.get("SLURM_NODELIST", "")
    names = ask_slurm("scontrol", "show", "hostnames", nodes).split()
    if not names:
        raise UsageError(f"scontrol names no host of the job's nodes '{nodes}'")
    try:
        socket.getaddrinfo(names[0], None)
        return names[0]
    except OSError:
        found = re.search(r"\bNodeAddr=(\S+)", ask_slurm("scontrol", "show", "node", names[0]))
        return found[1] if found else names[0]


def choose_port(number: int) -> int:
    """Return the port of a job by its number; where it is taken, the next free one."""
    for offset in range(PORTS):
        port = FIRST_PORT + (number * STRIDE + offset) % PORTS
        with socket.socket() as one:
            try:
                one.bind(("", port))
                return port
            except OSError:
                continue
    raise UsageError(f"none of the ports from {FIRST_PORT} on is free")


def environment(args: argparse.Namespace) -> dict[str, str]:
    """Return the variables that all ranks have in common.

    Raises:
        UsageError: As `first_host` and `choose_port`.
    """
    number = int(os.environ.get("SLURM_JOB_ID", os.getpid()))
    values = {
        **os.environ,
        "WORLD_SIZE": str(args.nodes * args.per_node),
        "MASTER_ADDR": first_host() if args.nodes > 1 else "127.0.0.1",
        "MASTER_PORT": str(choose_port(number)),
    }
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        values[name] = str(args.num_threads)
    if args.cpu:
        # ESPnet would look for the number of each rank among these.
        values.pop("CUDA_VISIBLE_DEVICES", None)
        if args.nodes == 1 and Path("/sys/class/net/lo").exists():
            values.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return values


def node_command(args: argparse.Namespace) -> list[str]:
    """Return the command that holds the ranks of a node, by srun where there are several."""
    words = [sys.executable, str(NODE_RANKS), "--per_node", str(args.per_node)]
    if args.nodes == 1:
        return [*words, "--node", "0", *args.command]
    srun = ["srun", "--export=ALL", "--kill-on-bad-exit=1", "--wait=0", "--mpi=none"]
    srun += [f"--nodes={args.nodes}", f"--ntasks={args.nodes}", "--ntasks-per-node=1"]
    if cpus := os.environ.get("SLURM_CPUS_PER_TASK"):  # srun does not take it from the job
        srun.append(f"--cpus-per-task={cpus}")
    return [*srun, *words, *args.command]


class Training:
    """The ranks of all nodes: passes orders on, hears of their ends, and judges them."""

    def __init__(self, command: list[str], variables: dict[str, str], n_ranks: int) -> None:
        self.n_ranks = n_ranks
        self.ends: dict[int, End] = {}
        self.texts: dict[int, list[str]] = {}
        self.asked: set[int] = set()
        self.end_at = float("inf")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=variables)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(signum, self._on_signal)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self.order(signal.SIGUSR1 if signum == signal.SIGUSR1 else signal.SIGTERM)

    def order(self, signum: int) -> None:
        """Send a signal to all ranks."""
        self.asked.add(signum)
        assert self.process.stdin is not None
        try:
            os.write(self.process.stdin.fileno(), f"{signal.Signals(signum).name}\n".encode())
        except OSError:  # they have ended
            pass

    def run(self) -> int:
        """Follow the ranks until all have ended; return the exit code."""
        assert self.process.stdout is not None
        pipe, rest = self.process.stdout.fileno(), b""
        selector = selectors.DefaultSelector()
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if selector.select(0.1):
                data = os.read(pipe, 65536)
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._hear(line)
            self._end_where_it_is_time()
        return self._judge(self.process.wait())

    def _hear(self, line: bytes) -> None:
        """Note a line of a node; what is none is shown."""
        try:
            said = json.loads(line)
            rank = said["rank"]
        except (ValueError, TypeError, KeyError):
            say(line.decode(errors="replace"))
            return
        text = self.texts.setdefault(rank, [])
        if "text" not in said:
            self.ends[rank] = end = End(**said, text=text)
            self._consider(end)
        elif said["new"]:
            text.append(said["text"])
        else:
            text[-1] += said["text"]

    def _consider(self, end: End) -> None:
        """Set the time until which the others may run on."""
        if end.code == 0 or end.killed:
            return
        if end.code == SAVED:
            left = SAVE_S
        elif end.is_echo():
            left = ECHO_S
        else:
            left = 0.0
        self.end_at = min(self.end_at, time.monotonic() + left)

    def _end_where_it_is_time(self) -> None:
        now = time.monotonic()
        if now < self.end_at:
            return
        if signal.SIGKILL not in self.asked:
            self.order(signal.SIGKILL)
            self.end_at = now + KILL_S
        else:  # a node does not answer
            self.process.terminate()
            self.end_at = now + KILL_S

    def _judge(self, code: int) -> int:
        """Say which rank failed first; return the exit code.

        Args:
            code: of what held the ranks: srun, or node_ranks.py of this machine.
        """
        silent = sorted(set(range(self.n_ranks)) - self.ends.keys())
        bad = [end for end in self.ends.values() if end.code != 0 and not end.killed]
        told = self.asked - {signal.SIGKILL}
        stopped = [end for end in bad if end.code == SAVED or -end.code in told]
        failed = [end for end in bad if end not in stopped]
        own = [end for end in failed if not end.is_echo()]
        if stopped and not own:
            # Who has just begun, and has no handler yet, has nothing to lose by SIGUSR1.
            codes = {end.code for end in stopped}
            return SAVED if codes & {SAVED, -signal.SIGUSR1} else 128 + signal.SIGTERM
        if silent and not own:
            ranks = ", ".join(map(str, silent))
            say(
                f"nothing was heard of the end of rank {ranks}: what held it ended with code {code}"
            )
            return code if code > 0 else 1
        if not failed:
            return 0
        first = min(own or failed, key=lambda end: (end.when, end.rank))
        for line in first.last_words():
            print(f"rank {first.rank} | {line}", file=sys.stderr)
        say(
            f"rank {first.rank} of {self.n_ranks}, on {first.node}, failed first: it {first.how()}"
            "; what it wrote last is above. All others were ended"
        )
        return first.code if first.code > 0 else 128 - first.code


def main(argv: list[str]) -> int:
    """Run the training; return the exit code."""
    args = parse_arguments(argv)
    die_with_parent()
    try:
        if args.nodes > 1:
            check_job(args.nodes)
        variables = environment(args)
        return Training(node_command(args), variables, args.nodes * args.per_node).run()
    except (UsageError, OSError) as error:
        say(f"error: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
