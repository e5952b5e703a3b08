"""Parallel steps under a launcher that a test made: words with blanks, and being told to stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCHER = """#!{python}
import json, signal, sys, time
def cancel(*_):
    time.sleep(0.5)
    open("cancelled", "w").close()
    sys.exit(2)
signal.signal(signal.SIGTERM, cancel)
with open("words.new", "w") as file:
    json.dump(sys.argv[1:], file)
import os
os.rename("words.new", "words")
time.sleep(300)
"""


def heed_signals() -> None:
    """In a child: a shell cannot trap what it was started to ignore, as nohup and & start tests."""
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)


@pytest.fixture
def script(root, tmp_path):
    """Start parallel.sh with a launcher that waits, over a data directory of two utterances."""
    data, launcher = tmp_path / "data", tmp_path / "a launcher"
    data.mkdir()
    (data / "wav.scp").write_text("a-1 a.wav\na-2 b.wav\n")
    (data / "utt2spk").write_text("a-1 a\na-2 a\n")
    launcher.write_text(LAUNCHER.format(python=sys.executable))
    launcher.chmod(0o755)
    places = (Path(sys.executable).parent, root / "tools", os.environ["PATH"])
    return subprocess.Popen(
        [
            root / "egs" / "TEMPLATE" / "parallel.sh",
            *("--data", data, "--nj", "2", "--output", tmp_path / "out", "--cmd"),
            f"'{launcher}' --config 'my conf/x' -q a\\ b",
            *("--", "cp", "a b", "JOB"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PATH": ":".join(map(str, places)), "PYTHONPATH": str(root)},
        preexec_fn=heed_signals,
    )


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_its_launcher_is_told_to_stop_and_waited_for(script, tmp_path, signum):
    """Also where only the script itself is told, as when step.py was killed."""
    deadline = time.monotonic() + 60
    while not (tmp_path / "words").exists():
        assert time.monotonic() < deadline and script.poll() is None
        time.sleep(0.02)
    words = (tmp_path / "words").read_text()
    assert words.startswith('["--config", "my conf/x", "-q", "a b", "JOB=1:2", ')
    assert words.endswith('"cp", "a b", "JOB"]')
    script.send_signal(signum)
    assert script.wait(timeout=60) == 143
    assert (tmp_path / "cancelled").exists()


@pytest.fixture
def parallel(root, tmp_path):
    """Run parallel.sh over a data directory of three utterances, in two jobs."""
    data = tmp_path / "data"
    data.mkdir()
    names = ("a-1", "a-2", "a-3")
    (data / "wav.scp").write_text("".join(f"{u} {u}.wav\n" for u in names))
    (data / "utt2spk").write_text("".join(f"{u} a\n" for u in names))
    places = (tmp_path, Path(sys.executable).parent, root / "tools", os.environ["PATH"])

    def run(*words: str, cmd: str = "local.py", **environment: str):
        return subprocess.run(
            [
                root / "egs" / "TEMPLATE" / "parallel.sh",
                *("--data", "data", "--nj", "2", "--output", "out", "--cmd", cmd),
                *words,
            ],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": ":".join(map(str, places)),
                "PYTHONPATH": str(root),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_the_parts_are_made_once(parallel, tmp_path):
    for _ in range(2):
        done = parallel("--", "cp", "{split}/JOB/wav.scp", "out/JOB.scp")
        assert done.returncode == 0, done.stderr
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.scp", "2.scp", "log"]
        made = (tmp_path / "data" / ".split2").stat()
    assert (tmp_path / "data" / ".split2").stat() == made
    text = "".join((tmp_path / "out" / f"{job}.scp").read_text() for job in (1, 2))
    assert text == (tmp_path / "data" / "wav.scp").read_text()


WRITE = 'mkdir -p "$1/sub" && echo "$1" | tee -a places "$1/sub/JOB.txt" > "$1/.JOB.hidden"'


def test_a_job_that_lives_on_does_not_write_into_a_later_run(parallel, tmp_path):
    first = parallel("--", "sh", "-c", WRITE + "; exit 1", "-", "out")
    old = {Path(place) for place in (tmp_path / "places").read_text().split()}
    assert first.returncode == 1 and len(old) == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".") == ["log"]
    straggler = tmp_path / old.pop()
    assert straggler.is_dir()
    # The later run's first job waits for the straggler, which makes its folder again.
    late = f"mkdir -p {straggler}/sub && echo late | tee {straggler}/sub/1.txt > {straggler}/new; "
    joined = ("++", "sh", "-c", 'cat "$@" > out/joined', "-", "out/sub/JOB.txt")
    second = parallel("--", "sh", "-c", late + WRITE, "-", "out", *joined)
    assert second.returncode == 0, second.stderr
    places = (tmp_path / "places").read_text().split()[-2:]
    assert (tmp_path / "out" / "joined").read_text().split() == places
    names = [".1.hidden", ".2.hidden", "joined", "log", "sub"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names


def test_what_is_kept_is_written_in_place(parallel, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "before").touch()
    done = parallel("--keep", "true", "--", "cp", "{split}/JOB/wav.scp", "out/JOB.scp")
    assert done.returncode == 0, done.stderr
    names = ["1.scp", "2.scp", "before", "log"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names


SUBMIT = """#!/usr/bin/env bash
# The contract of run.pl for one job; says how it was called.
printf '%s ' "${@:1:7}" >> calls
echo >> calls
while [[ $1 == --* ]]; do shift 2; done
mkdir -p "${1%/*}"
log=$1
shift
exec "$@" > "${log}" 2>&1
"""
TABLE = """
default      2  3G  1:00:00  -
split_data   1  1G  0:10:00  -  # in this test
merge_text   here
"""


def test_joins_are_jobs_where_the_table_says_so(parallel, tmp_path):
    """Also the parts, where they are not there; what runs here, and no program of ours, is none."""
    submit = tmp_path / "submit"
    submit.write_text(SUBMIT)
    submit.chmod(0o755)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "resources.txt").write_text(TABLE)
    ours, here = (
        ("python", "-m", "speechlm.bin.split_data"),
        ("python", "-m", "speechlm.bin.merge_text"),
    )
    joins = [("++", *ours, "--help"), ("++", *here, "--help"), ("++", "touch", "out/joined")]
    for calls in (2, 1):
        (tmp_path / "calls").unlink(missing_ok=True)
        words = ("--", "cp", "{split}/JOB/wav.scp", "out/JOB.scp", *sum(joins, ()))
        done = parallel(*words, step_cmd="submit --mem 5G")
        assert done.returncode == 0, done.stderr
        lines = (tmp_path / "calls").read_text().splitlines()
        options = "--mem 5G --num_threads 1 --time 0:10:00"
        assert [line.rpartition(" out/")[0] for line in lines] == [options] * calls
        assert (tmp_path / "out" / "joined").exists()
        assert "show this help" in (tmp_path / "out" / "log" / "join_1.log").read_text()
