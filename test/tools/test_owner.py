"""One owner of an output: on this machine, on others, in jobs of a cluster, alive and dead."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest


@pytest.fixture
def owner(root, monkeypatch):
    """The module tools/owner.py, with short times."""
    monkeypatch.syspath_prepend(str(root / "tools"))
    import owner

    monkeypatch.setattr(owner, "LOOK_S", 0.02)
    monkeypatch.setattr(owner, "WATCH_S", 0.1)
    return owner


@pytest.fixture
def folder(tmp_path):
    return tmp_path / ".out.owner"


def claim_of(owner, folder: Path, name: str, age_s: float, **values) -> Path:
    """Write a claim as another process, by default of another machine, would have left it."""
    folder.mkdir(exist_ok=True)
    values = {"machine": "another", "host": "login2", "pid": 4711, **values}
    owner.make_claim(folder / name, owner.Claim("other", **values))
    then = time.time() - age_s
    os.utime(folder / name, (then, then))
    return folder / name


def test_nothing_is_left_of_a_step_that_is_over(owner, folder):
    with owner.owned(folder, print, 0.1) as token:
        claim, _ = owner.read_claim(folder / "run")
        assert claim.token == token and claim.pid == os.getpid()
    assert not folder.exists()


def test_the_second_of_two_is_told_who_the_first_is(owner, folder):
    with (
        owner.owned(folder, print, 0.1),
        pytest.raises(owner.Taken, match=f"process {os.getpid()} on .*kill {os.getpid()}"),
        owner.owned(folder, print, 0.1),
    ):
        pass


def test_what_touches_a_claim_is_replaced_if_it_is_killed(owner, folder, monkeypatch):
    """Without it another machine would take the claim for dead while the step is at work."""
    monkeypatch.setattr(owner, "BEAT_S", 0.05)
    keepers = []
    keep = owner.keep_touched
    monkeypatch.setattr(owner, "keep_touched", lambda *a: keepers.append(keep(*a)) or keepers[-1])
    before = signal.getsignal(signal.SIGCHLD)
    with owner.owned(folder, print, 0.1):
        subprocess.run(["true"], check=True)  # the end of another child changes nothing
        assert len(keepers) == 1
        for _ in range(2):
            os.kill(keepers[-1], signal.SIGKILL)
            os.utime(folder / "run", (1, 1))
            deadline = time.monotonic() + 10
            while (folder / "run").stat().st_mtime < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert (folder / "run").stat().st_mtime > 2
    assert len(keepers) == 3 and signal.getsignal(signal.SIGCHLD) == before
    assert not folder.exists()
    for keeper in keepers:
        with pytest.raises(ProcessLookupError):
            os.kill(keeper, 0)


@pytest.mark.parametrize("content", [None, "", "{", '{"token": "x"}'])
def test_a_dead_claim_is_taken_over(owner, folder, content):
    """Of a machine that touches it no longer; also one that is not whole."""
    path = claim_of(owner, folder, "run", owner.STALE_S + 1)
    if content is not None:
        path.write_text(content)
        os.utime(path, (1, 1))
    with owner.owned(folder, print, 0.1) as token:
        assert owner.read_claim(path)[0].token == token


def test_a_claim_of_this_machine_is_dead_with_its_process_however_fresh(owner, folder):
    ended = subprocess.Popen(["true"])
    ended.wait()
    values = {"machine": owner.machine(), "pid": ended.pid, "start": "1"}
    claim_of(owner, folder, "run", 0.0, **values)
    with owner.owned(folder, print, 0.1):
        pass
    # The number of a process may come again: this one is of another process.
    claim_of(owner, folder, "run", 0.0, **{**values, "pid": os.getpid()})
    with owner.owned(folder, print, 0.1):
        pass


def test_a_claim_is_alive_while_a_process_has_its_token(owner, folder):
    ended = subprocess.Popen(["true"])
    ended.wait()
    values = {"machine": owner.machine(), "pid": ended.pid, "start": "1"}
    claim_of(owner, folder, "run", 0.0, **values)
    left = subprocess.Popen(["sleep", "60"], env={**os.environ, owner.TOKEN: "other"})
    try:
        with pytest.raises(owner.Taken), owner.owned(folder, print, 0.3):
            pass
    finally:
        left.kill()
        left.wait()
    with owner.owned(folder, print, 0.1):
        pass


def test_another_machine_that_lives_keeps_its_claim(owner, folder):
    path = claim_of(owner, folder, "run", 20.0)
    over = threading.Event()

    def touch():
        while not over.wait(0.1):
            os.utime(path)

    beats = threading.Thread(target=touch)
    beats.start()
    try:
        with pytest.raises(owner.Taken, match="process 4711 on login2"):
            owner.owned(folder, print, 0).__enter__()
    finally:
        over.set()
        beats.join()
    assert owner.read_claim(path)[0].token == "other"


def test_another_machine_is_given_time_to_show_that_it_lives(owner, folder, monkeypatch):
    monkeypatch.setattr(owner, "STALE_S", 21.0)
    claim_of(owner, folder, "run", 20.0)
    with owner.owned(folder, print, 0):
        pass


@pytest.mark.parametrize("hours", [-1, 1])
def test_clocks_of_hosts_may_differ(owner, folder, monkeypatch, hours):
    """A living claim keeps its owner and a dead one does not, whatever the times of their files."""
    monkeypatch.setattr(owner, "STALE_S", 2.0)
    monkeypatch.setattr(owner, "WATCH_S", 1.0)
    path = claim_of(owner, folder, "run", 0.0)
    over = threading.Event()

    def touch():
        while not over.wait(0.1):
            other = time.time() + 3600 * hours
            os.utime(path, (other, other))

    beats = threading.Thread(target=touch)
    beats.start()
    time.sleep(0.3)
    try:
        with pytest.raises(owner.Taken, match="process 4711 on login2"):
            owner.owned(folder, print, 0).__enter__()
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            assert owner.is_alive(path, *owner.read_claim(path))
            time.sleep(0.05)
    finally:
        over.set()
        beats.join()
    with owner.owned(folder, print, 60) as token:
        assert owner.read_claim(path)[0].token == token


def test_hidden_processes_of_another_user_are_believed_by_their_beats(owner, folder, monkeypatch):
    """As on hosts whose /proc shows a user's own processes alone."""
    path = claim_of(owner, folder, "run", 0.0, machine=owner.machine(), start="1")
    assert not owner.is_alive(path, *owner.read_claim(path))
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert owner.is_alive(path, *owner.read_claim(path))


def test_a_claim_that_cannot_be_read_is_named(owner, folder, monkeypatch):
    monkeypatch.setattr(owner, "STALE_S", 2.0)
    path = claim_of(owner, folder, "run", 0.0)
    path.write_text("{")
    said: list[str] = []
    with owner.owned(folder, said.append, 0):
        pass
    assert len(said) == 1 and f"its claim {path} cannot be read" in said[0]


def test_jobs_of_an_earlier_run_are_named_and_waited_for(owner, folder):
    living = claim_of(owner, folder, "job.34", 1.0, job="34", host="n1")
    claim_of(owner, folder, "job.33", owner.STALE_S + 1, job="33")
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if "Slurm job 34" in text:  # a time of day may have 34 in it, too
            threading.Timer(0.3, living.unlink).start()

    with owner.owned(folder, say, 0):
        assert not living.exists()
    dead, at_work = said
    assert "may be at work still, and is waited for: Slurm job 33" in dead
    assert "is at work still, and is waited for: Slurm job 34, process 4711 on n1" in at_work
    assert "scancel 34 ends it" in at_work and not folder.exists()


def test_a_claim_that_came_meanwhile_is_put_back(owner, folder):
    path = claim_of(owner, folder, "run", 0.0)
    owner.take_away(path, "the dead one's")
    assert owner.read_claim(path)[0].token == "other" and len(list(folder.iterdir())) == 1
    owner.take_away(path, "other")
    assert not list(folder.iterdir())


def test_an_owner_that_ends_while_it_is_looked_at_is_dead(owner, folder):
    """It removes its claim and the folder, between two looks of who waits for it."""
    path = claim_of(owner, folder, "run", 0.0)
    claim, touched = owner.read_claim(path)
    owner.remove_claim(path, "other")
    assert not folder.exists() and not owner.is_alive(path, claim, touched)


def test_who_has_lost_the_claim_is_stopped(owner, folder, root):
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import owner, pathlib\n"
        "owner.BEAT_S = owner.LOOK_S = 0.1\n"
        "with owner.owned(pathlib.Path(sys.argv[2]), print, 0):\n"
        "    print('owned', flush=True); time.sleep(300)\n"
    )
    command = [sys.executable, "-c", code, root / "tools", folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "owned\n"
    before = (folder / "run").stat().st_mtime_ns
    deadline = time.monotonic() + 60
    while (folder / "run").stat().st_mtime_ns == before:  # it is touched
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (folder / "run").unlink()
    claim_of(owner, folder, "run", 0.0)
    assert process.wait(timeout=60) == -signal.SIGTERM
    assert owner.read_claim(folder / "run")[0].token == "other"


def hold(root: Path, folder: Path, token: str, *command: str, **options) -> subprocess.Popen:
    words = [sys.executable, root / "tools" / "hold.py", folder, token, "--", *command]
    environment = {**os.environ, "SLURM_JOB_ID": "35"}
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True, **options)


def test_a_job_claims_the_output_while_it_runs(owner, folder, root, tmp_path):
    with owner.owned(folder, print, 0) as token:
        script = f"cat {folder}/job.35 > seen; kill -9 $$"
        job = hold(root, folder, token, "sh", "-c", script, cwd=tmp_path)
        assert job.wait(timeout=60) == -9, job.stderr.read()
        seen = json.loads((tmp_path / "seen").read_text())
        assert seen["token"] == token and seen["job"] == "35" and seen["pid"] == job.pid
        deadline = time.monotonic() + 60
        while (folder / "job.35").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_job_that_comes_too_late_does_nothing(owner, folder, root, tmp_path):
    """It waited in a queue, and the run that had submitted it is over, or is another one now."""
    job = hold(root, folder, "mine", "touch", "begun", cwd=tmp_path)
    assert job.wait(timeout=60) == 76 and "is over" in job.stderr.read()
    path = claim_of(owner, folder, "run", 0.0)
    job = hold(root, folder, "mine", "touch", "begun", cwd=tmp_path)
    assert job.wait(timeout=60) == 76 and "now it is made by process 4711" in job.stderr.read()
    assert not (tmp_path / "begun").exists() and list(folder.iterdir()) == [path]
