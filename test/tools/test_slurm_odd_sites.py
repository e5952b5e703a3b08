"""slurm.py where environment, configuration and Slurm's answers are not what they should be."""

import re
import signal
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from fake_cluster import Cluster  # noqa: E402

sys.path.remove(str(HERE))
TIMED_OUT = "Batch job submission failed: Socket timed out on send/recv operation"


@pytest.fixture
def cluster(root, tmp_path):
    """Make a fake cluster that behaves as told."""
    made = iter(range(100))
    return lambda **plan: Cluster(root, tmp_path / str(next(made)), **plan)


@pytest.fixture
def module(root, monkeypatch):
    """Import one of the tools."""
    monkeypatch.syspath_prepend(str(root / "tools"))
    return __import__


def test_variables_of_sbatch_that_would_change_what_a_job_is(module, monkeypatch):
    for name in ("ARRAY_INX", "WAIT", "WAIT_ALL_NODES", "PARTITION"):
        monkeypatch.setenv(f"SBATCH_{name}", "1-3")
    monkeypatch.setenv("SLURM_CONF", "")
    kept = module("slurm_queue").environment()
    names = {name for name in kept if name.startswith(("SBATCH_", "SLURM_CONF"))}
    assert names == {"SBATCH_WAIT_ALL_NODES", "SBATCH_PARTITION"}


def test_words_that_only_the_launcher_may_give(module):
    check = module("slurm_conf").check_words
    for word in ("--array=1-2", "-a", "-a1-2", "--wait", "-W", "--test-only", "--wrap=true"):
        with pytest.raises(ValueError, match="is for slurm.py to give, not for a.conf"):
            check(["sbatch", "-A", "x", word], "a.conf")
    check(["sbatch", "-A", "x", "--array-inx", "-w", "n1", "--account=a"], "a.conf")


def test_such_a_word_submits_nothing(cluster):
    one = cluster()
    code, errors = one.run("-a", "1-2", "l", "true")
    assert code == 1 and "-a is for slurm.py to give" in errors
    assert not (one.home / "submitted").exists()


def test_a_configuration_that_names_a_variable_which_is_not_set(module, monkeypatch, tmp_path):
    path = tmp_path / "a.conf"
    conf = module("slurm_conf")
    monkeypatch.delenv("NOSUCH", raising=False)
    for words in ("-A $NOSUCH", "-A ${NOSUCH}", "--gres=gpu:$1"):
        path.write_text(f"command sbatch\noption gpu=* {words}\n")
        with pytest.raises(ValueError, match=r"a.conf, line 2: the variable \$.* is not set"):
            conf.read_configuration(str(path))


def test_a_configuration_by_a_link_to_nothing_and_one_with_a_mark(module, monkeypatch, tmp_path):
    """What Windows' editors put before the first line is none of the text."""
    monkeypatch.chdir(tmp_path)
    conf = module("slurm_conf")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "slurm.conf").symlink_to("nowhere")
    with pytest.raises(ValueError, match="conf/slurm.conf cannot be read"):
        conf.read_configuration(None)
    (tmp_path / "conf" / "slurm.conf").unlink()
    (tmp_path / "conf" / "slurm.conf").write_bytes(b"\xef\xbb\xbfcommand sbatch\r\n")
    assert conf.read_configuration(None).command == ["sbatch"]


@pytest.mark.parametrize(
    ("given", "taken"),
    [("2G", "2G"), ("2048m", "2048m"), ("500", "500"), ("0", "0"), ("1.5G", "1536M")]
    + [("2GiB", "2048M"), ("2GB", "2048M"), ("0.3", "1M"), ("1.5k", "1M")],
)
def test_memory_is_given_as_slurm_reads_it(module, given, taken):
    assert module("slurm_conf").whole_memory(given) == taken


def test_slurms_configuration_that_is_not_there(cluster):
    one = cluster()
    one.environment["SLURM_CONF"] = str(one.home / "none")
    started = time.monotonic()
    code, errors = one.run("l", "true")
    assert code == 1 and "SLURM_CONF names" in errors and "which is no file" in errors
    assert time.monotonic() - started < 50  # Slurm's commands try for 60


def test_ids_are_found_in_what_sbatch_prints(module):
    read_id = module("slurm").read_id
    assert read_id("12\n") == ("12", "") and read_id("hello\n12;east\n") == ("12", "east")
    assert read_id("Submitted batch job 12 on cluster east\n") == ("12", "east")
    assert read_id("Submitted batch job\n") is None


def test_what_hangs_is_named(module, monkeypatch, capfd):
    queue = module("slurm_queue")
    monkeypatch.setattr(queue, "SILENT_S", 0.2)
    assert queue.ask("sh", "-c", "sleep 1; echo 12")[:2] == (0, "12\n")
    errors = capfd.readouterr().err
    assert re.search("sh has not answered for 0 s, and is waited for, up to 60 s", errors)
    code, _, said = queue.ask("sleep", "60", seconds=1)
    assert code == 124 and said == "sleep timed out after 1 s"


def submitted(one: Cluster) -> int:
    return len(one.submitted()) if (one.home / "submitted").exists() else 0


def test_a_job_is_not_submitted_twice_while_squeue_says_nothing(cluster):
    """The controller took it, but neither sbatch nor squeue comes to hear of that."""
    one = cluster(sbatch=[f"took it: {TIMED_OUT}"], squeue=["fails"])
    code, errors = one.run("l", "sh", "-c", "echo x >> runs")
    assert code == 0, errors
    assert (one.work / "runs").read_text() == "x\n" and submitted(one) == 1


def test_an_answer_of_sbatch_that_cannot_be_read_loses_no_job(cluster):
    one = cluster(sbatch=["took it: <html>"])
    code, errors = one.run("l", "sh", "-c", "echo x >> runs")
    assert code == 0, errors
    assert (one.work / "runs").read_text() == "x\n" and submitted(one) == 1


def test_what_was_taken_unnoticed_is_cancelled_when_the_launcher_is_stopped(cluster):
    one = cluster(sbatch=[f"took it: {TIMED_OUT}"], squeue=["fails"] * 2)
    process = one.start("l", "sleep", "300")
    one.wait_for(lambda: submitted(one) == 1)
    assert process.stderr is not None and TIMED_OUT in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    one.wait_for(lambda: one.states() == ["CANCELLED"])


def test_a_refusal_names_the_variables_that_have_a_say(cluster):
    one = cluster(sbatch=["Invalid --exclusive specification"])
    one.environment["SBATCH_EXCLUSIVE"] = "1"
    code, errors = one.run("l", "true")
    assert code == 1 and "Your environment has a say, too: SBATCH_EXCLUSIVE" in errors


def test_a_full_disk_is_named_where_a_code_could_not_be_written(module, tmp_path, monkeypatch):
    watch, launch = module("slurm_watch"), module("launch")
    queue = module("slurm_queue")
    monkeypatch.setattr(watch, "refusal", lambda folder: f"{folder}: No space left on device")
    job = launch.Job(1, ["true"], tmp_path / "l")
    one = watch.Watch([watch.Submission("7", "", {"": job})], tmp_path, print)
    followed = one.open[0]
    followed.entry, followed.doubts = queue.Entry("FAILED"), 1
    assert one._ended_by_list(followed, None)
    assert job.reason == f"failed (FAILED) without a word: {tmp_path}: No space left on device"
