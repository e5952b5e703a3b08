"""The step runner: what is skipped, what is done again, what is refused, and kills."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

APPEND = 'echo x >> runs; cat in > "$0"'  # counts how often it ran


@pytest.fixture
def step(root, tmp_path):
    """Run tools/step.py in a folder that has a file "in"."""
    (tmp_path / "in").write_text("a\n")

    def run(*words: str, output="out", needs=("in",), command=None, cwd=tmp_path):
        command = command or ("sh", "-c", APPEND, output)
        options = [word for need in needs for word in ("--needs", need)]
        return subprocess.run(
            [
                sys.executable,
                root / "tools" / "step.py",
                "--name",
                "make it",
                "--stage",
                "2",
                "--output",
                output,
                *options,
                *words,
                "--",
                *command,
            ],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def runs(folder: Path) -> int:
    path = folder / "runs"
    return len(path.read_text().split()) if path.exists() else 0


def test_a_finished_step_is_skipped_and_its_time_noted(step, tmp_path):
    first, second = step(), step()
    assert first.returncode == second.returncode == 0
    assert runs(tmp_path) == 1
    assert "done already" in second.stderr
    stage, name, *seconds, output = (tmp_path / "exp" / "times.tsv").read_text().strip().split("\t")
    assert (stage, name, output) == ("2", "make it", "out") and len(seconds) == 2
    assert all(0 <= float(number) < 120 for number in seconds)


BUSY = """
import os, resource, sys, time
if sys.argv[1] == "0":  # in the middle: a process that waits for one that works
    os.waitpid(os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "busy.py", "1"]), 0)
    time.sleep(0.5)
else:
    while resource.getrusage(resource.RUSAGE_SELF).ru_utime < 0.8:
        pass
open("out", "w").close()
"""


def test_cpu_seconds_are_those_of_all_processes_of_the_step(step, root, tmp_path):
    """The work is done in a child of a child of the launcher; sleeping is none."""
    (tmp_path / "busy.py").write_text(BUSY)
    launcher = f"{sys.executable} {root / 'tools' / 'local.py'} job.log"
    done = step("--launcher", launcher, command=(sys.executable, "busy.py", "0"))
    assert done.returncode == 0, done.stderr
    wall, cpu = map(float, (tmp_path / "exp" / "times.tsv").read_text().strip().split("\t")[2:4])
    assert 0.8 <= cpu < wall - 0.3


@pytest.mark.parametrize("name", [".", "data/..", ".."])
def test_an_input_without_a_name_is_one_by_its_place(step, tmp_path, name):
    folder = tmp_path / "corpus"
    (folder / "data").mkdir(parents=True)
    (folder / "list").touch()
    words = {"needs": (name,), "command": ("touch", "../made/out"), "output": "../made/out"}
    first, second = (step(cwd=folder, **words) for _ in range(2))
    assert first.returncode == 0 and "starts" in first.stderr, first.stderr
    assert "done already" in second.stderr
    (folder.parent if name == ".." else folder).joinpath("more").touch()
    assert "has changed" in step(cwd=folder, **words).stderr
    (tmp_path / ".corpus.running").touch()
    if name != "..":
        assert f"needs {name}, which is not finished" in step(cwd=folder, **words).stderr


@pytest.mark.parametrize("name", ["/", "//", "/tmp/.."])
def test_the_root_folder_is_no_input(step, tmp_path, name):
    for words in ([], ["--dry_run"]):
        result = step(*words, needs=(name,))
        assert result.returncode == 1 and runs(tmp_path) == 0
        assert f"stage 2 needs '{name}', the root folder; name" in result.stderr
        assert "Traceback" not in result.stderr


def test_errors_of_the_system_are_one_line(step):
    result = step(needs=("a" * 300,))
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert re.fullmatch("error: /.*/a{300}: File name too long\n", result.stderr)


LISTED = r"printf '%s\t%s\t%s\n' 3 exp/model first 4 exp/model again 5 exp/model/graph graph"


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("exp/model", "3"),  # the first of two that make it
        ("exp/model/weights", "3"),
        ("exp/model/graph/words.txt", "5"),  # the innermost folder
        ("exp/../exp/model/graph", "5"),
        ("exp/models", None),
        ("exp", None),
        ("conf.yaml", None),
    ],
)
def test_a_missing_input_names_the_stage_that_makes_it(step, tmp_path, monkeypatch, name, stage):
    monkeypatch.setenv("LIST_STEPS", LISTED)
    result = step(needs=("in", name))
    assert result.returncode == 1 and runs(tmp_path) == 0
    assert f"stage 2 needs {name}, which is not there; " in result.stderr
    remedy = f"stage {stage} makes it: run ./run.sh --stage {stage} --stop_stage {stage} with your"
    assert (remedy if stage else "; it is for you to provide") in result.stderr
    assert "needs in," not in result.stderr


def test_all_missing_inputs_are_named_once(step, monkeypatch):
    monkeypatch.setenv("LIST_STEPS", LISTED)
    result = step("--needs", "exp/model", needs=("conf.yaml", "exp/model"))
    assert result.stderr.count("stage 2 needs ") == 2
    assert "for you to provide" in result.stderr and "--stage 3" in result.stderr


def test_an_output_within_an_input_does_not_make_the_input(step, tmp_path):
    """Nor does the lock beside the output."""
    for _ in range(2):
        result = step(output="model/scores", needs=("in", "model"))
        assert result.returncode == 1 and "stage 2 needs model, which is not there" in result.stderr
        assert not (tmp_path / "model").exists() and runs(tmp_path) == 0


@pytest.mark.parametrize("command", [None, "exit 1", "echo; echo 3"])
def test_a_missing_input_where_steps_cannot_be_listed(step, monkeypatch, command):
    monkeypatch.delenv("LIST_STEPS", raising=False)
    if command is not None:
        monkeypatch.setenv("LIST_STEPS", command)
    result = step(needs=("exp/model",))
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "needs exp/model, which is not there; it is for you to provide" in result.stderr


def test_steps_are_listed_only_where_an_input_is_missing(step, tmp_path, monkeypatch):
    monkeypatch.setenv("LIST_STEPS", "touch listed")
    assert step().returncode == 0 and "done already" in step().stderr
    assert step("--dry_run", output="other", needs=("not_there",)).returncode == 0
    assert not (tmp_path / "listed").exists()


def test_content_counts_not_time(step, tmp_path):
    step()
    os.utime(tmp_path / "in", (1, 1))
    assert "done already" in step().stderr
    (tmp_path / "in").write_text("b\n")
    result = step()
    assert "input in has changed" in result.stderr and runs(tmp_path) == 2
    assert (tmp_path / "out").read_text() == "b\n"


def test_a_changed_command_is_run_again_but_not_for_how_it_runs(step, tmp_path):
    command = ("sh", "-c", APPEND, "out")
    step(command=(*command, "--order", "3", "--nj", "4"))
    assert "done already" in step(command=(*command, "--order", "3", "--nj", "8")).stderr
    assert "done already" in step(command=(*command, "--order", "3")).stderr
    result = step(command=(*command, "--order", "4"))
    assert "--order: was 3, now 4" in result.stderr and runs(tmp_path) == 2
    step("--ignore", "beam", command=(*command, "--order", "4", "--beam", "9"))
    assert runs(tmp_path) == 2


def test_the_launcher_does_not_count(step, tmp_path):
    assert step("--launcher", "env A=1").returncode == 0
    assert "done already" in step("--launcher", "nice -n 1").stderr
    assert runs(tmp_path) == 1


def test_a_change_reaches_what_depends_on_it(step, tmp_path):
    step(output="out")
    last = {"output": "last", "needs": ("out",), "command": ("cp", "out", "last")}
    step(**last)
    (tmp_path / "out").unlink()
    step(output="out")  # the same again: what depends on it stays valid
    assert "done already" in step(**last).stderr
    (tmp_path / "in").write_text("b\n")
    step(output="out")
    assert "input out has changed" in step(**last).stderr
    assert (tmp_path / "last").read_text() == "b\n"


def test_an_output_changed_by_hand_counts_as_changed(step, tmp_path):
    folder = {"output": "dir", "command": ("sh", "-c", "mkdir -p dir && cp in dir/text")}
    last = {"output": "last", "needs": ("dir",), "command": ("cp", "dir/text", "last")}
    step(**folder)
    step(**last)
    (tmp_path / "dir" / "added_later").write_text("more")
    assert "done already" in step(**last).stderr
    (tmp_path / "dir" / "text").write_text("by hand\n")
    assert "input dir has changed" in step(**last).stderr


def test_inputs_removed_since_do_not_matter(step, tmp_path):
    step()
    (tmp_path / "in").unlink()
    result = step()
    assert result.returncode == 0 and "gone since" in result.stderr and runs(tmp_path) == 1


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (
            "kill -9 $$",
            137,
            "was killed (signal 9, by someone or by the system for want of memory)",
        ),
        ("exit 137", 137, "was killed (signal 9, by someone or by the system for want of memory)"),
        ("kill -SEGV $$", 139, "was ended by signal 11 (SIGSEGV) after"),
        ("exit 139", 139, "was ended by signal 11 (SIGSEGV) after"),
        ("exit 130", 130, "failed with code 130"),
    ],
)
def test_a_command_that_a_signal_ended_says_so(step, end, code, said):
    result = step(command=("sh", "-c", end))
    assert result.returncode == code and said in result.stderr


def test_a_failed_command_leaves_no_record(step, tmp_path):
    result = step(command=("sh", "-c", "touch out; exit 5"))
    assert result.returncode == 5 and "failed with code 5" in result.stderr
    user = step(output="last", needs=("out",), command=("cp", "out", "last"))
    assert user.returncode == 1 and "out, which is not finished" in user.stderr
    assert step().returncode == 0 and runs(tmp_path) == 1
    assert step(output="last", needs=("out",), command=("cp", "out", "last")).returncode == 0


def test_a_command_that_does_not_make_its_output(step):
    result = step(command=("true",))
    assert result.returncode == 1 and "did not make out" in result.stderr


def test_a_command_that_does_not_make_all_of_its_files(step, tmp_path):
    result = step("--also", "second", output="out")
    assert result.returncode == 1 and "did not make second" in result.stderr
    (tmp_path / "second").touch()
    assert step("--also", "second", output="out").returncode == 0
    assert "done already" in step(output="out").stderr  # the same step, to the record


def test_no_command(step, root):
    words = ("--name", "n", "--stage", "2", "--output", "out")
    for more in ((), ("--",), ("--needs", "in")):
        result = subprocess.run(
            [sys.executable, root / "tools" / "step.py", *words, *more],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 2 and "the command goes behind a '--'" in result.stderr


def test_a_command_that_is_not_there(step):
    result = step(command=("no-such-program",))
    assert result.returncode == 1 and "cannot run no-such-program" in result.stderr


def test_a_dry_run_only_says(step, tmp_path):
    result = step("--dry_run", needs=("not_yet",))
    assert result.returncode == 0 and "would run" in result.stderr and "cat in" in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.fixture
def chain(step, tmp_path, monkeypatch):
    """Three steps, each from the last one's output: make, or say what would be made."""
    monkeypatch.setenv("DRY_RUN_STEPS", str(tmp_path / "foreseen"))
    copy = 'mkdir -p "$1" && cp "$0" "$1/file"'

    def run(*words: str, needs=("a/file", "b")) -> list[str]:
        (tmp_path / "foreseen").unlink(missing_ok=True)
        said = []
        for output, need in zip("abc", ("in", *needs), strict=True):
            source = need if "/" in need or need == "in" else f"{need}/file"
            command = ("sh", "-c", copy, source, output)
            done = step(*words, output=output, needs=(need,), command=command)
            assert done.returncode == 0, done.stderr
            said.append(done.stderr)
        return said

    return run


@pytest.mark.parametrize("needs", [("a", "b"), ("a/file", "b"), ("a", "b/file")])
def test_a_dry_run_follows_what_its_steps_would_change(chain, tmp_path, needs):
    assert all("would run" in said for said in chain("--dry_run", needs=needs))
    chain(needs=needs)
    assert all("done already" in said for said in chain("--dry_run", needs=needs))
    (tmp_path / "in").write_text("other\n")
    said = chain("--dry_run", needs=needs)
    assert all("would run" in words and "has changed" in words for words in said)
    assert [words.count("done already") for words in chain(needs=needs)] == [0, 0, 0]


@pytest.mark.parametrize("needs", [("a", "b"), ("a/file", "b")])
def test_a_dry_run_knows_what_is_made_again_as_it_was(chain, tmp_path, needs):
    chain(needs=needs)
    (tmp_path / "a" / "more").touch()
    chain(needs=needs)
    (tmp_path / "b" / "file").unlink()
    said = chain("--dry_run", needs=needs)
    expected = ["done already", "would run", "done already"]
    assert all(words in one for words, one in zip(expected, said, strict=True))
    (tmp_path / ".a.running").touch()
    chain("--dry_run", needs=needs)
    assert (tmp_path / ".a.running").exists()  # only says


def test_a_dry_run_says_what_jobs_take(step):
    result = step("--dry_run", "--jobs", "2 x align: 1 core, 4G")
    assert "stage 2 | make it: would run: 2 x align: 1 core, 4G\n    sh -c" in result.stderr


def test_trainings_do_not_mix(step, tmp_path):
    train = ("sh", "-c", "echo x >> runs; touch model/checkpoint.pth; [ -e go_on ]", "--lr")
    options = {"output": "model", "needs": ("in",)}
    assert step("--training", "model", **options, command=(*train, "1")).returncode == 1
    refused = step("--training", "model", **options, command=(*train, "2"))
    assert refused.returncode == 1 and runs(tmp_path) == 1
    assert "--lr: was 1, now 2" in refused.stderr and "Delete model to train it" in refused.stderr
    assert "--tag, which is in the names of pre-trainings" in refused.stderr
    (tmp_path / "in").write_text("b\n")
    refused = step("--training", "model", **options, command=(*train, "1"))
    assert "input in has changed" in refused.stderr
    (tmp_path / "in").write_text("a\n")
    (tmp_path / "go_on").touch()
    assert step("--training", "model", **options, command=(*train, "1")).returncode == 0
    assert runs(tmp_path) == 2
    assert step("--training", "model", **options, command=(*train, "2")).returncode == 1
    assert "done already" in step("--training", "model", **options, command=(*train, "1")).stderr


def test_a_training_without_weights_makes_room(step, tmp_path):
    start = ("sh", "-c", "touch model/train.log model/init.pth; exit 1", "--lr")
    assert step("--training", "model", output="model", command=(*start, "1")).returncode == 1
    train = ("sh", "-c", "ls model > seen; touch model/weights.pth", "--lr", "2")
    assert step("--training", "model", output="model", command=train).returncode == 0
    assert (tmp_path / "seen").read_text() == ""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_step_is_done_again(root, step, tmp_path, signum):
    slow = ("sh", "-c", "echo half > out; echo $$ > pid; [ -e fast ] || sleep 3; cp in out")
    process = subprocess.Popen(
        [
            sys.executable,
            root / "tools" / "step.py",
            "--name",
            "n",
            "--stage",
            "2",
            "--output",
            "out",
            "--needs",
            "in",
            "--",
            *slow,
        ],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signum)
    process.wait(timeout=60)
    (tmp_path / "fast").touch()
    user = step(output="last", needs=("out",), command=("cp", "out", "last"))
    assert "not finished" in user.stderr
    result = step(command=slow)
    assert result.returncode == 0 and (tmp_path / "out").read_text() == "a\n"


# As Kaldi's slurm.pl: told to stop, it needs a while to have its jobs cancelled.
LAUNCHER = """
import signal, sys, time
def cancel(*_):
    time.sleep(1.5)
    open("cancelled", "w").close()
    sys.exit(2)
for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(signum, cancel)
open("submitted", "w").close()
time.sleep(300)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_launcher_below_a_shell_comes_to_cancel_its_jobs(root, tmp_path, signum):
    """The shell, which is the step's own child, ends at once."""
    (tmp_path / "launcher.py").write_text(LAUNCHER)
    command = ["sh", "-c", '"$0" launcher.py; touch out', sys.executable]
    words = ["--name", "n", "--stage", "2", "--output", "out", "--", *command]
    process = subprocess.Popen(
        [sys.executable, root / "tools" / "step.py", *words],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "submitted").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signum)
    assert process.wait(timeout=60) == 128 + signum
    assert (tmp_path / "cancelled").exists() and not (tmp_path / "out").exists()


def test_a_kill_between_the_end_and_the_record(step, tmp_path):
    step()
    record = tmp_path / ".out.done"
    identity = json.loads(record.read_text())["identity"]
    record.unlink()
    (tmp_path / ".out.running").touch()
    assert step().returncode == 0
    assert json.loads(record.read_text())["identity"] == identity
    assert not (tmp_path / ".out.running").exists()


def test_a_damaged_record_is_no_record(step, tmp_path):
    step()
    (tmp_path / ".out.done").write_text('{"identity": ')
    assert step().returncode == 0 and runs(tmp_path) == 2


def test_an_output_that_lost_a_file_is_made_again(step, tmp_path):
    make = ("sh", "-c", "mkdir -p out; touch out/a out/b; echo x >> runs")
    assert step(command=make).returncode == 0
    (tmp_path / "out" / "b").unlink()
    again = step(command=make)
    assert "b is gone from out" in again.stderr and runs(tmp_path) == 2


def test_a_deleted_input_does_not_hide_a_changed_one(step, tmp_path):
    (tmp_path / "other").write_text("a\n")
    both = ("in", "other")
    assert step(needs=both).returncode == 0
    (tmp_path / "other").unlink()
    assert "is gone since" in step(needs=both).stderr
    (tmp_path / "in").write_text("changed\n")
    assert step(needs=both).returncode == 1


def test_changes_deep_in_a_corpus_are_seen(step, tmp_path):
    chapter = tmp_path / "corpus" / "7" / "100"
    chapter.mkdir(parents=True)
    (chapter / "7-100.trans.txt").write_text("7-100-0000 A\n")
    make = ("sh", "-c", "echo x >> runs; touch out")
    for change in (None, "text", "recording"):
        if change == "text":
            (chapter / "7-100.trans.txt").write_text("7-100-0000 A B\n")
        if change == "recording":
            (chapter / "7-100-0001.flac").touch()
        assert step(needs=("corpus",), command=make).returncode == 0
        assert "done already" in step(needs=("corpus",), command=make).stderr
    assert runs(tmp_path) == 3


def test_jobs_of_a_launcher_that_was_killed_are_named(root, step):
    code = (
        "import os, pathlib, sys; sys.path.insert(0, sys.argv[1]); import owner\n"
        "parent = os.getppid()\n"
        "claim = owner.Claim('t', pid=parent, start=owner.started(parent), job='7')\n"
        "owner.make_claim(pathlib.Path('.out.owner') / 'job.7', claim)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    result = step(command=(sys.executable, "-c", code, str(root / "tools")))
    assert result.returncode == 137
    assert "is at work still, and the next start waits for it: Slurm job 7" in result.stderr
