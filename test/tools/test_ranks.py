"""Ranks of one training: who failed first, signals to all, nodes and ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools")]
import ranks as launcher  # noqa: E402
from fake_cluster import Cluster  # noqa: E402

del sys.path[:2]

# Each rank does what its argument says, after so many seconds.
RANK = """
import json, os, pathlib, signal, sys, time
rank = os.environ["RANK"]
pathlib.Path(f"env.{rank}").write_text(json.dumps(dict(os.environ)))
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda *_: sys.exit(75))
pathlib.Path(f"pid.{rank}").write_text(str(os.getpid()))
print(f"begun {rank}", flush=True)
what = dict(word.split("=", 1) for word in sys.argv[1:]).get(rank, "time.sleep(60)")
exec(what)
"""
PEER = "raise RuntimeError('[pair.cc:534] Connection closed by peer [127.0.0.1]:1234')"
OWN = """
time.sleep(0.7)
import traceback
try:
    raise ValueError("its own, " + "ä" * 300 + ".")
except ValueError:  # as torch has it written
    print(*["[rank]: ".replace("]", rank + "]") + line
        for line in traceback.format_exc().splitlines()], sep=chr(10), flush=True)
    sys.exit(1)
"""


class Ranks:
    """ranks.py in a folder, perhaps within a job of a fake cluster."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.cluster, self.folder = Cluster(root, folder), folder
        self.tool = root / "tools" / "ranks.py"
        self.environment = {**self.cluster.environment, "CUDA_VISIBLE_DEVICES": ""}

    def start(self, *words: str, **variables: str) -> subprocess.Popen:
        options = [word for word in words if "=" not in word]
        acts = [word for word in words if "=" in word]
        return subprocess.Popen(
            [sys.executable, self.tool, *options, "--cpu", sys.executable, "-c", RANK, *acts],
            cwd=self.folder,
            env={**self.environment, **variables},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **variables: str) -> tuple[int, list[str]]:
        begun = time.monotonic()
        process = self.start(*words, **variables)
        lines = process.communicate(timeout=120)[1].splitlines()
        assert time.monotonic() - begun < 40  # ranks sleep for 60 s
        return process.returncode, lines

    def wait_for(self, n: int) -> list[int]:
        """Numbers of the ranks' processes, when all have begun."""
        self.cluster.wait_for(lambda: all(self._pid(rank) for rank in range(n)))
        return [int(self._pid(rank)) for rank in range(n)]

    def _pid(self, rank: int) -> str:
        path = self.folder / f"pid.{rank}"
        return path.read_text() if path.exists() else ""

    def variables(self, rank: int) -> dict[str, str]:
        return json.loads((self.folder / f"env.{rank}").read_text())


@pytest.fixture
def ranks(root, tmp_path):
    return Ranks(root, tmp_path)


def job(n: int) -> dict[str, str]:
    """Variables of a job with so many nodes, whose names have hyphens and lists."""
    nodes = {"SLURM_JOB_NODELIST": "gpu-a[01-03,07]", "SLURM_JOB_NUM_NODES": str(n)}
    return {**nodes, "SLURM_JOB_ID": "4711", "SLURM_CPUS_PER_TASK": "6"}


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"


def test_ranks_know_each_other_and_rank_0_alone_is_heard(ranks):
    acts = [f"{rank}=print('end', rank)" for rank in range(3)]
    code, lines = ranks.run("--per_node", "3", "--num_threads", "2", *acts)
    assert code == 0 and lines == ["begun 0", "end 0"]
    found = [ranks.variables(rank) for rank in range(3)]
    assert [one["RANK"] for one in found] == [one["LOCAL_RANK"] for one in found] == [*"012"]
    for one in found:
        assert (one["WORLD_SIZE"], one["MASTER_ADDR"], one["OMP_NUM_THREADS"]) == (
            *("3", "127.0.0.1", "2"),
        )
        assert one["MASTER_PORT"] == found[0]["MASTER_PORT"]
        assert "CUDA_VISIBLE_DEVICES" not in one  # ESPnet would look for rank 2 in it


def test_the_rank_that_failed_by_itself_is_shown_and_not_who_missed_it_first(ranks):
    code, lines = ranks.run("--per_node", "3", f"0={PEER}", f"2={OWN}")
    assert code == 1
    assert "rank 2 of 3" in lines[-1] and "failed first: it ended with code 1" in lines[-1]
    assert lines[-2] == f"rank 2 | ValueError: its own, {'ä' * 300}."  # in pieces, on its way
    assert any("Traceback" in line for line in lines if line.startswith("rank 2 |"))
    assert not any("rank 0 |" in line or "Connection closed" in line for line in lines)


def test_a_traceback_of_rank_0_that_is_not_its_end_is_shown(ranks):
    act = "print('Traceback (most recent call last):', 'a warning', sep=chr(10))"
    assert ranks.run(f"0={act}") == (
        *(0, ["begun 0", "Traceback (most recent call last):", "a warning"]),
    )


def test_a_rank_that_is_killed_is_named(ranks):
    code, lines = ranks.run("--per_node", "2", "1=os.kill(os.getpid(), 9)")
    assert code == 137
    assert "rank 1 of 2" in lines[-1] and "was ended by SIGKILL" in lines[-1]


def test_where_all_miss_a_peer_the_first_is_shown(ranks):
    code, lines = ranks.run("--per_node", "2", f"0=time.sleep(0.5); {PEER}", f"1={PEER}")
    assert code == 1 and "rank 1 of 2" in lines[-1] and "Connection closed" in lines[-2]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
def test_signals_reach_all_ranks(ranks, number):
    process = ranks.start("--per_node", "2")
    pids = ranks.wait_for(2)
    if number == signal.SIGINT:  # as a terminal does it
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 75 and errors.split() == ["begun", "0"]
    assert all(map(is_gone, pids))


def test_a_signal_in_the_first_moment_loses_nothing(ranks):
    """Before Python and torch are there a rank is ended by it: nothing was begun."""
    process = ranks.start("--per_node", "2", "1=signal.signal(10, signal.SIG_DFL); time.sleep(60)")
    ranks.wait_for(2)
    time.sleep(0.2)
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=120)
    assert process.returncode == 75


@pytest.mark.parametrize("whole_group", [False, True])
def test_ranks_end_with_their_launcher(ranks, whole_group):
    process = ranks.start("--per_node", "2")
    pids = ranks.wait_for(2)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
    process.communicate(timeout=120)
    ranks.cluster.wait_for(lambda: all(map(is_gone, pids)))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "this is no job of Slurm"),
        (job(1), "this job of Slurm has 1"),
        ({**job(2), "PATH": "/nowhere"}, "srun, which reaches them, is not on this one"),
    ],
)
def test_nodes_that_cannot_be_reached_are_told_before_anything_starts(ranks, variables, said):
    for name in [name for name in ranks.environment if name.startswith("SLURM_")]:
        del ranks.environment[name]
    code, lines = ranks.run("--nodes", "2", **variables)
    assert code == 2 and said in lines[0] and "2 nodes are wanted" in lines[0]
    assert not list(ranks.folder.glob("pid.*")) and not (ranks.cluster.home / "srun").exists()


def test_the_ranks_of_two_nodes_and_the_error_of_one_on_the_second(ranks):
    acts = [f"0={PEER}", f"3={OWN}"]
    code, lines = ranks.run("--nodes", "2", "--per_node", "2", *acts, **job(2))
    assert code == 1 and "rank 3 of 4, on node1" in lines[-1] and "its own" in lines[-2]
    given = json.loads((ranks.cluster.home / "srun").read_text())
    for word in ("--export=ALL", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=6"):
        assert word in given
    for rank in range(4):
        one = ranks.variables(rank)
        assert (one["RANK"], one["LOCAL_RANK"]) == (str(rank), str(rank % 2))
        assert (one["WORLD_SIZE"], one["MASTER_ADDR"]) == ("4", "127.0.0.1")  # its NodeAddr
        assert int(one["MASTER_PORT"]) == launcher.choose_port(4711)


def test_signals_reach_the_ranks_of_all_nodes(ranks):
    process = ranks.start("--nodes", "2", "--per_node", "1", **job(2))
    ranks.wait_for(2)
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=120)
    assert process.returncode == 75


def test_a_node_that_is_lost_is_told(ranks):
    """Ranks end with what held them, and nobody can tell how."""
    kill = "os.kill(os.getppid(), 9); time.sleep(60)"
    code, lines = ranks.run("--nodes", "2", "--per_node", "1", f"1={kill}", **job(2))
    assert code != 0 and "nothing was heard of the end of rank 0, 1" in lines[-1]


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("localhost", "localhost"), ("gpu-a[01-03,07]", "127.0.0.1"), ("a100-8-[3,5]", "127.0.0.1")],
)
def test_the_first_host_is_one_that_the_network_knows(ranks, monkeypatch, nodes, first):
    for name in ("PATH", "FAKE_SLURM"):
        monkeypatch.setenv(name, ranks.environment[name])
    monkeypatch.setenv("SLURM_JOB_NODELIST", nodes)
    assert launcher.first_host() == first
    known = ("gpu-a01", "a100-8-3")
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, _: [] if host in known else 1 / 0)
    if nodes != "localhost":
        assert launcher.first_host() in known


def test_ports_follow_from_the_job_and_are_free():
    ports = {id: launcher.choose_port(id) for id in (*range(9_000, 9_100), 67_000_000)}
    assert ports == {id: launcher.choose_port(id) for id in ports}
    assert all(launcher.FIRST_PORT <= port < 32768 for port in ports.values())
    assert len(set(ports.values())) == len(ports)
    with socket.socket() as taken:
        taken.bind(("", ports[9_000]))
        assert launcher.choose_port(9_000) not in ports.values()
