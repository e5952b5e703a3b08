"""The launcher for Slurm and the lock of a training on a real cluster, where Slurm is installed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster, missing

pytestmark = pytest.mark.skipif(
    bool(missing()),
    reason=f"not installed: {', '.join(missing())} (Debian: slurmctld slurmd munge)",
)
SLEEP = ("sh", "-c", "echo begun; exec sleep 100")


@pytest.fixture(scope="module")
def cluster():
    # munge wants a folder that all can enter, which pytest's are not.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = SlurmCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start(cluster, root, tmp_path):
    """Start one of the tools in a folder of its own."""

    def start(tool: str, *words: str) -> subprocess.Popen:
        tools = root / "tools"
        places = f"{tools}:{Path(sys.executable).parent}:{cluster.environment['PATH']}"
        return subprocess.Popen(
            [sys.executable, tools / tool, *words],
            cwd=tmp_path,
            env={**cluster.environment, "PATH": places, "PYTHONPATH": str(root)},
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def wait_for_word(log: Path, word: str) -> None:
    deadline = time.monotonic() + 60
    while not (log.exists() and word in log.read_text().split()):
        assert time.monotonic() < deadline, f"no {word} in {log}"
        time.sleep(0.05)


def test_an_array_beyond_slurms_limit(start, tmp_path):
    """MaxArraySize is 4, so that places go to 3."""
    script = '[ JOB != 5 ] || exit 7; echo "JOB $OMP_NUM_THREADS $SLURM_CPUS_PER_TASK"'
    process = start("slurm.py", "--num_threads", "2", "JOB=2:5", "l.JOB", "sh", "-c", script)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 1 and "1 of 4 jobs failed: 5" in errors, errors
    assert "ended with code 7; the end of l.5" in errors
    for number in range(2, 5):
        assert f"{number} 2 2" in (tmp_path / f"l.{number}").read_text().splitlines()


def test_a_cancelled_job_and_one_that_can_never_start(start, cluster, tmp_path):
    never = start("slurm.py", "--time", "2:0:0", "never", "true")  # the partition has 1 h
    cancelled = start("slurm.py", "JOB=1:2", "l.JOB", *SLEEP)
    for number in (1, 2):
        wait_for_word(tmp_path / f"l.{number}", "begun")
    id = (tmp_path / "l.2").read_text().partition("job ")[2].split()[0]
    cluster.ask("scancel", id)
    cluster.ask("scancel", id.replace("_2", "_1"))
    errors = cancelled.communicate(timeout=120)[1]
    assert f"({id}, n" in errors or "jobs failed: 1, 2" in errors
    assert "was cancelled (CANCELLED)" in errors and cancelled.returncode == 1
    errors = never.communicate(timeout=120)[1]
    assert never.returncode == 1
    assert "can never start (PartitionTimeLimit)" in errors or "time limit" in errors


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_parallel_step_leaves_no_jobs(start, root, cluster, tmp_path, signum):
    """From step.py through parallel.sh to slurm.py; also where step.py is killed."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "wav.scp").write_text("a-1 a.wav\na-2 b.wav\n")
    (data / "utt2spk").write_text("a-1 a\na-2 a\n")
    script = [root / "egs" / "TEMPLATE" / "parallel.sh", "--data", "data", "--nj", "2"]
    script += ["--output", "out", "--cmd", "slurm.py", "--", *SLEEP]
    words = ["--name", "n", "--stage", "5", "--output", "out", "--needs", "data", "--"]
    step = start("step.py", *words, *script)
    for number in (1, 2):
        wait_for_word(tmp_path / "out" / "log" / f"{number}.log", "begun")
    assert len(list((tmp_path / ".out.owner").glob("job.*"))) == 2
    step.send_signal(signum)
    cluster.wait_for(lambda: not cluster.ask("squeue", "-h").strip(), 60)
    step.wait(timeout=60)


def test_a_training_whose_submitter_died_is_waited_for(start, cluster, tmp_path):
    """The submit host dies, the job lives on: the next start makes no second training."""
    script = "echo x >> runs; [ -e go ] || echo begun; until [ -e go ]; do sleep 0.1; done"
    script += "; touch model/weights.pth"
    words = ["--name", "n", "--stage", "10", "--output", "model", "--training", "model"]
    words += ["--launcher", "slurm.py model/job.log", "--", "sh", "-c", script]
    first = start("step.py", *words)
    wait_for_word(tmp_path / "model" / "job.log", "begun")
    first.send_signal(signal.SIGSTOP)  # so that it does not see its launcher's end
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    for pid in [*map(int, children), first.pid]:
        os.kill(pid, signal.SIGKILL)
    first.communicate()
    second = start("step.py", *words)
    said = "an earlier run is at work still, and is waited for: Slurm job"
    assert any(said in line for line in second.stderr)  # read up to this line
    (tmp_path / "go").touch()
    errors = second.communicate(timeout=120)[1]
    assert second.returncode == 0, errors
    lines = (tmp_path / "model" / "job.log").read_text().splitlines()
    assert "begun" not in lines  # it began when the first one had ended
    assert (tmp_path / "runs").read_text() == "x\nx\n"


# A rank of two nodes: told of its end it saves, in a second run it ends well, or fails.
RANK = """
import json, os, pathlib, signal, sys, time
rank, again = os.environ["RANK"], os.path.exists("saved")
def save(*_):
    open("saved", "w").close()
    sys.exit(75)
signal.signal(signal.SIGUSR1, save)
names = ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURMD_NODENAME")
pathlib.Path("rank." + rank).write_text(json.dumps({name: os.environ[name] for name in names}))
if rank == "3" and sys.argv[1:]:
    raise ValueError(sys.argv[1])
time.sleep(0 if again else 60)
"""


def test_ranks_on_two_nodes_whose_time_is_over_go_on(start, cluster, tmp_path):
    words = ["--num_nodes", "2", "--num_threads", "2", "log", "ranks.py", "--nodes", "2"]
    words += ["--per_node", "2", "--cpu", sys.executable, "-c", RANK]
    process = start("slurm.py", *words)
    cluster.wait_for(lambda: len(list(tmp_path.glob("rank.*"))) == 4)
    id = (tmp_path / "log").read_text().partition("job ")[2].split()[0]
    cluster.ask("scancel", "--signal=USR1", "--batch", id)
    cluster.wait_for(lambda: "PENDING" in cluster.ask("squeue", "-h", "-j", id, "-o", "%T"))
    # Else after two minutes; at once its nodes would refuse it.
    cluster.ask("scontrol", "update", f"JobId={id}", "StartTime=now+3")
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 0, errors
    log = (tmp_path / "log").read_text()
    assert "(code 75)" in log and "Slurm starts it again" in log and "(code 0)" in log
    ranks = [json.loads((tmp_path / f"rank.{rank}").read_text()) for rank in range(4)]
    assert [one["SLURMD_NODENAME"] for one in ranks] == ["n1", "n1", "n2", "n2"]
    assert [one["LOCAL_RANK"] for one in ranks] == ["0", "1", "0", "1"]
    # The cluster's names for its nodes are none that the network knows.
    assert {(one["WORLD_SIZE"], one["MASTER_ADDR"]) for one in ranks} == {("4", "127.0.0.1")}
    assert len({one["MASTER_PORT"] for one in ranks}) == 1


def test_the_error_of_a_rank_on_the_second_node_is_what_is_shown(start, cluster, tmp_path):
    words = ["--num_nodes", "2", "--num_threads", "2", "log", "ranks.py", "--nodes", "2"]
    words += ["--per_node", "2", "--cpu", sys.executable, "-c", RANK, "its own error"]
    process = start("slurm.py", *words)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "rank 3 | ValueError: its own error" in errors
    assert "rank 3 of 4, on n2, failed first: it ended with code 1" in errors
