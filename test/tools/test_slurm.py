"""The launcher for Slurm, with a cluster that is slow, fails, answers nonsense and loses jobs."""

import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_cluster import Cluster

NOTICED_S = 90.0  # 5 s are promised; a machine may be very busy
SLEEP = ("sh", "-c", "echo begun; exec sleep 300")


@pytest.fixture
def cluster(root, tmp_path):
    """Make a fake cluster that behaves as told."""
    made = iter(range(100))
    return lambda **plan: Cluster(root, tmp_path / str(next(made)), **plan)


def test_arguments_paths_and_environment_arrive_as_they_are(cluster):
    """Also with --export=PATH, in a folder and with arguments of any characters."""
    one = cluster()
    (one.work / "my conf").write_text("command sbatch --export=PATH # that's all\n")
    one.environment |= {"PYTHONPATH": "/some where", "SPEECHLM_X": "a'b", "OTHER": "x"}
    words = ["a b", "*", "$HOME", "'", '"', "x;y\\", "", "(", "new\nline", "JOBJOB.JOB", "\udcff"]
    code = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    log = "lo g$/a.JOB.txt"
    call = ["JOB=3:4", "--config", "my conf", log, sys.executable, "-c", code, *words]
    assert one.run(*call) == (0, f"slurm.py: job 101 of Slurm; log: {log}\n")
    for number in ("3", "4"):
        lines = (one.work / f"lo g$/a.{number}.txt").read_text(errors="replace").splitlines()
        arguments, seen = next(json.loads(line) for line in lines if line.startswith("[["))
        assert arguments == [word.replace("JOB", number) for word in words]
        assert re.fullmatch(r"# Ended \(code 0\) at .*, elapsed time \d+ seconds", lines[-1])
        assert any(f"job 101_{number}" in line for line in lines)
        assert (seen["PYTHONPATH"], seen["SPEECHLM_X"]) == ("/some where", "a'b")
        assert seen["OMP_NUM_THREADS"] == seen["MKL_NUM_THREADS"] == "1" and "OTHER" not in seen
    assert sorted(p.name for p in (one.work / "lo g$").iterdir()) == ["a.3.txt", "a.4.txt"]
    assert len(one.submitted()) == 1


def test_options_reach_sbatch(cluster):
    one = cluster()
    words = "--num-threads 2 --gpu 2 -p big JOB=1:2 --mem 4G --time 1-0 --max-jobs-run 1 --name x"
    code, errors = one.run(*words.split(), "l.JOB", "sh", "-c", "echo $OMP_NUM_THREADS threads")
    assert code == 0, errors
    given = one.submitted()[0]
    wanted = "--cpus-per-task=2 --gres=gpu:2 --mem=4G --time=1-0 --job-name=x -p big --array 1-2%1"
    assert set(wanted.split()) <= set(given)
    assert given.index("--job-name=x") > 1  # behind the one by default
    assert "2 threads" in (one.work / "l.2").read_text().splitlines()


ESPNET = """
# Default configuration
command sbatch --export=PATH
option name=* --job-name $0
option time=* --time $0
option mem=* --mem-per-cpu $0
option mem=0
option num_threads=* --cpus-per-task $0
option num_threads=1 --cpus-per-task 1
option num_nodes=* --nodes $0
default gpu=0
option gpu=0 -p cpu
option gpu=* -p gpu --gres=gpu:$0 -c $0  # as many cores
"""


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("", "-p cpu"),
        ("--mem 0 --gpu 0", "-p cpu"),
        ("--gpu 4", "-p gpu --gres=gpu:4 -c 4"),
        ("--time 4:0:0 --mem 2G", "--time 4:0:0 --mem-per-cpu 2G -p cpu"),
        ("--max_jobs_run 2 --retry 1 --num-threads 3", "--cpus-per-task 3 -p cpu"),
    ],
)
def test_the_sites_configuration_is_read(words_for, options, wanted):
    words = words_for(ESPNET, options)
    start = ["sbatch", "--export=PATH"]
    assert words[:2] == start and sorted(words[2:]) == sorted(wanted.split())


@pytest.fixture
def words_for(root, tmp_path, monkeypatch):
    """Return what is submitted with a configuration and options."""
    monkeypatch.syspath_prepend(str(root / "tools"))
    from launch import parse_call
    from slurm_conf import read_configuration, sbatch_words

    def words(text: str | None, options: str) -> list[str]:
        if text is not None:
            (tmp_path / "slurm.conf").write_text(text)
        call = parse_call([*options.split(), "log", "true"])
        return sbatch_words(read_configuration(str(tmp_path / "slurm.conf")), call.options)

    return words


@pytest.mark.parametrize(
    ("text", "option", "message"),
    [
        ("command sbatch\noption mem=* --mem $0\n", "--qos x", "describe --qos x; it has mem"),
        ("option mem=* --mem $0\n", "--mem 1G", "has no line 'command sbatch ...'"),
        ("command sbatch\nqos=3\n", "--mem 1G", "line 2: cannot read 'qos=3'"),
        ("command sbatch --a 'b\n", "--mem 1G", "No closing quotation"),
        (None, "--mem 1G", "cannot be read"),
    ],
)
def test_a_wrong_configuration_is_explained(words_for, text, option, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        words_for(text, option)


def test_a_value_is_one_word_and_variables_are_the_environments(words_for, monkeypatch):
    monkeypatch.setenv("MY_ACCOUNT", "a b")
    conf = "command sbatch -A $MY_ACCOUNT --comment 'x y'\noption name=* -J $0\n"
    words = words_for(conf, "--name $MY_ACCOUNT;")
    assert words == ["sbatch", "-A", "a b", "--comment", "x y", "-J", "$MY_ACCOUNT;"]


def test_an_error_of_the_configuration_is_one_line(cluster):
    code, errors = cluster().run("--config", "none", "l", "true")
    assert code == 1 and errors.startswith("slurm.py: error: --config none cannot be read")


def test_jobs_that_fail_are_reported_with_id_code_and_log(cluster):
    one = cluster()
    script = "touch 'done.JOB'; [ JOB != 2 ] || { echo why; exit 7; }"
    code, errors = one.run("JOB=1:3", "l.JOB", "sh", "-c", script)
    assert code == 1 and "1 of 3 jobs failed: 2" in errors
    assert "job 2 (101_2" in errors and "ended with code 7; the end of l.2" in errors
    assert "    why" in errors and len(list(one.work.glob("done.*"))) == 3
    assert not list(one.work.glob(".slurm*"))
    code, errors = one.run("x.log", "no-such-program")
    assert code == 1 and "code 127" in errors and "no-such-program: command not found" in errors


ENDED = {  # how Slurm ends job 2, and what is said of it
    "cancelled": (dict(ends={"2": ["CANCELLED", "SIGTERM", 1]}), "was cancelled (CANCELLED)"),
    "memory": (dict(ends={"2": ["OUT_OF_MEMORY", "SIGKILL", 1]}), "used more memory"),
    "time": (dict(ends={"2": ["TIMEOUT", "SIGTERM", 1]}), "came to its time limit"),
    "node": (dict(ends={"2": ["NODE_FAIL", "SIGKILL", 1]}), "was lost with its node"),
    "preempted": (dict(ends={"2": ["PREEMPTED", "SIGKILL", 1]}), "was preempted"),
    "killed": (dict(ends={"2": ["FAILED", "SIGKILL", 1]}), "failed (FAILED) without a word"),
    "vanished": (
        dict(ends={"2": ["NODE_FAIL", "SIGKILL", 1]}, vanishes=["NODE_FAIL"]),
        "is gone from Slurm's list and left no exit code",
    ),
    "accounted": (
        dict(ends={"2": ["CANCELLED", "SIGKILL", 1]}, vanishes=["CANCELLED"], accounting=True),
        "was cancelled (CANCELLED)",
    ),
}


def test_whatever_ends_a_job_is_noticed_and_named(cluster):
    """All at once, each on a cluster of its own; job 1 ends well meanwhile."""
    script = "[ JOB = 1 ] || { echo begun; exec sleep 300; }"
    clusters = {name: cluster(**plan) for name, (plan, _) in ENDED.items()}

    def run(name: str) -> tuple[int, str, float]:
        code, errors = clusters[name].run("JOB=1:2", "l.JOB", "sh", "-c", script)
        return code, errors, time.time() - float((clusters[name].home / "ended.2").read_text())

    with ThreadPoolExecutor(len(clusters)) as pool:
        results = dict(zip(clusters, pool.map(run, clusters), strict=True))
    for name, (code, errors, late) in results.items():
        assert code == 1 and ENDED[name][1] in errors, (name, errors)
        assert "job 2 (101_2" in errors and "    begun" in errors, (name, errors)
        assert late < NOTICED_S, name


def test_a_job_that_can_never_start_is_given_up(cluster):
    one = cluster(waits={"2": "QOSMaxWallDurationPerJobLimit"})
    started = time.monotonic()
    code, errors = one.run("--retry", "3", "JOB=1:2", "l.JOB", "true")
    assert code == 1 and "job 2 (101_2) can never start (QOSMaxWallDurationPerJobLimit)" in errors
    assert "there is none: the job has not begun" in errors
    assert time.monotonic() - started < NOTICED_S
    assert one.states() == ["COMPLETED", "CANCELLED"] and len(one.submitted()) == 1


def test_sbatch_is_asked_again_where_the_controller_is_busy(cluster):
    one = cluster(sbatch=["Batch job submission failed: Socket timed out on send/recv operation"])
    code, errors = one.run("l", "true")
    assert code == 0 and "Socket timed out" in errors and one.states() == ["COMPLETED"]


def test_a_job_that_sbatch_took_and_complained_of_runs_once(cluster):
    one = cluster(sbatch=["took it: Socket timed out on send/recv operation"])
    code, errors = one.run("l", "sh", "-c", "echo x >> runs")
    assert code == 0, errors
    assert (one.work / "runs").read_text() == "x\n" and len(one.submitted()) == 1


def test_what_sbatch_refuses_is_said(cluster):
    one = cluster(sbatch=["", "Invalid account"], max_array=3)
    code, errors = one.run("JOB=1:4", "l.JOB", *SLEEP)
    assert code == 1 and "sbatch did not take the job; it says: sbatch: error: Invalid" in errors
    assert one.states() == ["CANCELLED"] * 2  # the first part of the jobs


def test_a_host_without_slurm(root, tmp_path):
    result = subprocess.run(
        [sys.executable, root / "tools" / "slurm.py", "l", "true"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1 and "is this a host of the cluster?" in result.stderr
    assert "Traceback" not in result.stderr and not list(tmp_path.glob(".slurm*"))


@pytest.mark.parametrize("answer", ["fails", "nonsense", "slow"])
def test_a_bad_answer_of_squeue_ends_nothing(cluster, answer):
    one = cluster(squeue=[answer] * 2, vanishes=["COMPLETED"])
    started = time.monotonic()
    code, errors = one.run("l", "sleep", "3")
    assert code == 0 and time.monotonic() - started < 3 + NOTICED_S
    assert ("squeue gives no answer" in errors) == (answer != "slow")


def test_arrays_are_as_large_as_slurm_allows(cluster):
    one = cluster(max_array=4)
    code, errors = one.run("--max_jobs", "6", "JOB=2:8", "l.JOB", "sh", "-c", "echo it is JOB")
    assert code == 0, errors
    arrays = [words[words.index("--array") + 1] for words in one.submitted()]
    assert arrays == ["2-3%2", "1-3%2", "1-2%2"]
    for number in range(2, 9):
        assert f"it is {number}" in (one.work / f"l.{number}").read_text().splitlines()


def test_only_jobs_that_failed_are_tried_again(cluster):
    one = cluster()
    script = "echo try >> tries.JOB; echo attempt; [ JOB != 2 ] || [ $(wc -l < tries.JOB) = 2 ]"
    code, errors = one.run("--retry", "2", "JOB=1:3", "l.JOB", "sh", "-c", script)
    assert code == 0 and "job 2 (101_2" in errors and "attempt 2 of 3" in errors
    assert [len((one.work / f"tries.{n}").read_text().split()) for n in (1, 2, 3)] == [1, 2, 1]
    log = (one.work / "l.2").read_text()
    assert log.count("# Started") == 2 and "(code 1)" in log and "(code 0)" in log


def test_a_job_that_slurm_starts_again_is_waited_for(cluster):
    one = cluster(requeued={"": "runs"})
    script = "echo run; echo x >> runs; [ $(wc -l < runs) = 2 ] || exec sleep 300"
    code, errors = one.run("l", "sh", "-c", script)
    assert code == 0, errors
    log = (one.work / "l").read_text()
    assert log.count("\nrun\n") == 2 and "(code 143)" in log and "(code 0)" in log


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGHUP", "the parent", "in sbatch"])
def test_stopping_cancels_the_jobs(cluster, how):
    one = cluster(slow_sbatch=2 if how == "in sbatch" else 0)
    words = [sys.executable, one.root / "tools" / "slurm.py", "JOB=1:2", "l.JOB", *SLEEP]
    code = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).wait())"
    if how == "the parent":
        words = [sys.executable, "-c", code, *words]
    process = subprocess.Popen(words, cwd=one.work, env=one.environment)
    if how == "in sbatch":
        one.wait_for(lambda: list(one.work.glob(".slurm*/script*")))
    else:
        one.wait_for(lambda: one.begun("l.1", "l.2"))
    signum = getattr(signal, how, signal.SIGKILL if how == "the parent" else signal.SIGTERM)
    process.send_signal(signum)
    code = process.wait(timeout=60)
    if how != "the parent":
        assert code == 128 + signum
    one.wait_for(lambda: one.states() == ["CANCELLED"] * 2)


def test_a_log_in_what_is_no_folder_is_one_line(cluster):
    one = cluster()
    (one.work / "file").touch()
    code, errors = one.run("file/l", "true")
    assert code == 1 and "error: cannot write log and script of the jobs: " in errors
    assert f"{one.work / 'file'} is there already, and is no folder" in errors
