"""The job launcher: Kaldi's contract, failures, stopping."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture
def local(root, tmp_path):
    """Run tools/local.py in an empty folder."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, root / "tools" / "local.py", *words],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def wait_for(path: Path, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_each_job_has_its_number_and_its_log(local, tmp_path):
    result = local("JOB=2:4", "log/a.JOB.txt", "sh", "-c", 'echo "out JOB"; echo err >&2')
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in (tmp_path / "log").iterdir()) == [f"a.{i}.txt" for i in (2, 3, 4)]
    lines = (tmp_path / "log" / "a.3.txt").read_text().splitlines()
    assert lines[0].startswith("# sh -c ") and "Started at" in lines[1]
    assert "out 3" in lines and "err" in lines
    assert re.match(r"# Ended \(code 0\) at .*, elapsed time \d+\.\d seconds", lines[-1])


def test_arguments_arrive_as_they_are(local, tmp_path):
    words = ["a b", "*", "$HOME", "'", '"', "x;y"]
    code = "import sys, json; print(json.dumps(sys.argv[1:]))"
    assert local("log.txt", sys.executable, "-c", code, *words).returncode == 0
    assert json.dumps(words) in (tmp_path / "log.txt").read_text().splitlines()


def test_a_killed_job_is_reported_as_such(local):
    result = local("JOB=1:2", "l.JOB.txt", "sh", "-c", "[ JOB != 2 ] || kill -9 $$")
    assert result.returncode == 1
    assert "job 2 was killed (signal 9, by someone or by the system" in result.stderr


def test_a_failure_is_reported_with_the_end_of_its_log(local, tmp_path):
    script = "touch done.JOB; [ JOB != 3 ] || { echo why; exit 7; }"
    result = local("JOB=1:4", "l.JOB.txt", "sh", "-c", script)
    assert result.returncode == 1
    assert "1 of 4 jobs failed: 3" in result.stderr
    assert "code 7" in result.stderr and "l.3.txt" in result.stderr and "    why" in result.stderr
    assert len(list(tmp_path.glob("done.*"))) == 4
    assert "(code 7)" in (tmp_path / "l.3.txt").read_text()


def test_a_command_that_is_not_there(local, tmp_path):
    result = local("l.txt", "no-such-program")
    assert result.returncode == 1 and "cannot run no-such-program" in result.stderr


def test_a_job_killed_by_a_signal_has_failed(local, tmp_path):
    assert local("l.txt", "sh", "-c", "kill -9 $$").returncode == 1
    assert "(code 137)" in (tmp_path / "l.txt").read_text()


def test_no_more_jobs_at_once_than_asked(local, tmp_path):
    code = (  # the first two wait for each other, however long programs take to start
        "import time, pathlib; here = pathlib.Path('.'); p = here / 'run.JOB'; p.touch()\n"
        "deadline = time.monotonic() + 30\n"
        "while JOB < 3 and time.monotonic() < deadline and not (here / 'met').exists():\n"
        "    if len(list(here.glob('run.*'))) > 1: (here / 'met').touch()\n"
        "time.sleep(0.2); print('together', len(list(here.glob('run.*')))); p.unlink()"
    )
    result = local("--max_jobs", "2", "JOB=1:6", "l.JOB.txt", sys.executable, "-c", code)
    assert result.returncode == 0
    together = [
        int(re.search(r"together (\d+)", (tmp_path / f"l.{i}.txt").read_text())[1])
        for i in range(1, 7)
    ]
    assert max(together) == 2


def test_threads_and_gpus_reach_the_job(local, tmp_path):
    shown = 'echo "$OMP_NUM_THREADS gpu=$CUDA_VISIBLE_DEVICES"; sleep 0.3'
    result = local(
        "--num_threads",
        "3",
        "--gpu",
        "2",
        "--max_jobs",
        "2",
        "JOB=1:3",
        "l.JOB.txt",
        "sh",
        "-c",
        shown,
        CUDA_VISIBLE_DEVICES="4,5,6,7",
    )
    assert result.returncode == 0, result.stderr
    logs = [(tmp_path / f"l.{i}.txt").read_text() for i in (1, 2, 3)]
    assert "3 gpu=4,5" in logs[0] and "3 gpu=6,7" in logs[1]
    assert re.search("3 gpu=(4,5|6,7)", logs[2])


def test_gpus_that_are_not_there(local):
    result = local("--gpu", "3", "l.txt", "true", CUDA_VISIBLE_DEVICES="0")
    assert result.returncode == 1 and "wants 3 GPUs, this machine shows 1" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["JOB=1:2", "same.txt", "true"], "all jobs would share it"),
        (["JOB=3:2", "l.JOB.txt", "true"], "empty"),
        (["JOB=a:b", "l.JOB.txt", "true"], "not a range"),
        (["JOB=0:3", "l.JOB.txt", "true"], "begins below 1"),
        (["JOB=1:2", "N=1:2", "l.JOB.txt", "true"], "a second range"),
        (["--gpu", "--mem", "4G", "l.txt", "true"], "--gpu has no value"),
        (["--num_threads", "two", "l.txt", "true"], "not 'two'"),
        (["l.txt"], "a log and a command"),
        (["--mem", "lots", "l.txt", "true"], "not an amount of memory"),
        (["--max_jobs", "0", "l.txt", "true"], "1 or more"),
    ],
)
def test_wrong_use_is_explained(local, words, message):
    result = local(*words)
    assert result.returncode == 2 and message in result.stderr


# What stands in cmd.sh for Kaldi's launchers, with the options before or after the range.
LINES = [
    "--max-jobs-run 2 JOB=1:2",
    "--max_jobs_run 2 JOB=1:2",
    "JOB=1:2 --num-threads 2 --mem 0",
    "--mem 2000 --time 1-0 JOB=1:2 --config conf/slurm.conf",
    "-q all.q -V -pe smp 2 JOB=1:2 -tc 1",
    "--num_nodes 1 --one-that-a-site-made-up x JOB=1:2",
    "--mem=2G JOB=1:2 --gpu 0",
]


@pytest.mark.parametrize("line", LINES)
def test_a_line_for_a_cluster_runs_here_too(local, tmp_path, line):
    result = local(*line.split(), "lr=1/l.JOB.txt", "sh", "-c", "echo it ran JOB")
    assert result.returncode == 0, result.stderr
    assert "it ran 2" in (tmp_path / "lr=1" / "l.2.txt").read_text().splitlines()


@pytest.mark.skipif(shutil.which("run.pl") is None, reason="Kaldi's run.pl is not on PATH")
@pytest.mark.parametrize("line", LINES[:-1])  # it knows no --mem=2G
def test_kaldis_own_launcher_takes_the_same_line(tmp_path, line):
    command = ["run.pl", *line.split(), "l.JOB.txt", "echo", "it", "ran", "JOB"]
    assert subprocess.run(command, cwd=tmp_path, timeout=60).returncode == 0
    assert "it ran 2" in (tmp_path / "l.2.txt").read_text().splitlines()


def test_the_last_of_two_options_counts(local, tmp_path):
    shown = 'echo "threads $OMP_NUM_THREADS"'
    assert local("--num_threads", "2", "--num-threads", "3", "l", "sh", "-c", shown).returncode == 0
    assert "threads 3" in (tmp_path / "l").read_text().splitlines()


def test_jobs_that_failed_are_tried_again(local, tmp_path):
    script = "echo try >> tries.JOB; [ JOB = 1 ] || [ $(wc -l < tries.JOB) = 3 ]"
    failed = local("--retry", "1", "JOB=1:2", "l.JOB.txt", "sh", "-c", script)
    assert failed.returncode == 1 and "attempt 2 of 2" in failed.stderr
    assert local("--retry", "1", "JOB=1:2", "l.JOB.txt", "sh", "-c", script).returncode == 0
    assert len((tmp_path / "tries.1").read_text().split()) == 2  # once in each call
    assert len((tmp_path / "tries.2").read_text().split()) == 3


def test_a_log_that_cannot_be_written(local, tmp_path):
    (tmp_path / "file").touch()
    result = local("file/l.txt", "true")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "cannot write its log: " in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_one_line(local, tmp_path):
    (tmp_path / "l.txt").symlink_to("/dev/full")
    result = local("l.txt", "true")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "No space left on device" in result.stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_jobs_end_with_the_launcher(root, tmp_path, signum):
    command = "echo $$ > pid.JOB.new; mv pid.JOB.new pid.JOB; exec sleep 300"
    launcher = subprocess.Popen(
        [
            sys.executable,
            root / "tools" / "local.py",
            "--max_jobs",
            "2",
            "JOB=1:2",
            "l.JOB.txt",
            "sh",
            "-c",
            command,
        ],
        cwd=tmp_path,
    )
    for number in (1, 2):
        wait_for(tmp_path / f"pid.{number}")
    pids = [int((tmp_path / f"pid.{number}").read_text()) for number in (1, 2)]
    launcher.send_signal(signum)
    code = launcher.wait(timeout=60)
    assert code == (-9 if signum == signal.SIGKILL else 128 + signum)
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a job outlived the launcher"
        time.sleep(0.05)
    if signum != signal.SIGKILL:
        assert "# Ended (code 143)" in (tmp_path / "l.1.txt").read_text()
