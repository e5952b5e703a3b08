"""The program `status`: on a terminal and in a pipe, once and again."""

import os
import signal
import subprocess
import sys
import time

import pytest
from terminal import Terminal


@pytest.fixture
def trainings(tmp_path):
    folder = tmp_path / "exp" / "pretrain"
    folder.mkdir(parents=True)
    text = "2026-01-01 00:00:00,000 (trainer:1) INFO: 1/5epoch started\n"
    (folder / "train.log").write_text(text)
    return tmp_path


@pytest.fixture
def command(root):
    return [sys.executable, "-m", "speechlm.bin.status"], {"PYTHONPATH": str(root)}


def test_once_in_a_pipe(trainings, command):
    words, environment = command
    found = subprocess.run(
        words, cwd=trainings, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert found.returncode == 0 and found.stdout.startswith("training  state")
    assert "\x1b" not in found.stdout


def test_it_is_watched_until_interrupted(trainings, command):
    words, environment = command
    terminal = Terminal(columns=60)
    process = terminal.start([*words, "--watch", "1"], cwd=trainings, env=environment)
    deadline = time.monotonic() + 60
    data = b""
    while data.count(b"\x1b[H\x1b[J") < 2 and time.monotonic() < deadline:
        data += os.read(terminal.master, 1 << 16)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert data.count(b"pretrain  running") >= 2


def test_errors_in_words(tmp_path, command):
    words, environment = command
    found = subprocess.run(
        words, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert found.returncode == 1
    assert found.stderr.startswith("error: exp: a folder of trainings expected")


def test_names_that_the_locale_or_the_terminal_cannot_write(trainings, command):
    words, environment = command
    for name in ("größe", "a\nb", "c\x1b[2J"):
        (trainings / "exp" / name).mkdir()
        (trainings / "exp" / name / "train.log").write_text("x")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    found = subprocess.run(
        words, cwd=trainings, env={**os.environ, **environment, **plain}, capture_output=True
    )
    assert found.returncode == 0, found.stderr
    rows = found.stdout.decode("ascii").splitlines()[1:5]
    assert [row.split()[0] for row in rows] == ["a?b", "c?[2J", "gr????e", "pretrain"]
