"""Loops under a step, by hand on a terminal, and with a file as stderr."""

import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import pytest
from terminal import Terminal

from speechlm.progress import Progress, progress
from speechlm.progress import loop as module
from speechlm.progress.records import FOLDER, SHOWN, identity, read_records

WORK = """
import sys, time
from speechlm.bin._cli import run
from speechlm.progress import progress
import logging
def main():
    for n in progress(range(25), "utterances"):
        time.sleep(0.1)
        if n == 12:
            logging.info("half")
    print("ready")
run(main)
"""


@pytest.fixture
def records(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr(module, "_EVERY_S", 0.0)
    return lambda: read_records(tmp_path)


def test_items_pass_and_records_follow_them(records):
    seen = []
    for item in progress(["a", "b", "c"], "utterances"):
        seen.append((item, records()[0].done))
    assert seen == [("a", 0), ("b", 1), ("c", 2)]
    (last,) = records()
    assert (last.what, last.done, last.total) == ("utterances", 3, 3)


def test_an_inner_loop_is_not_shown(records):
    for _ in progress(range(2), "sets"):
        assert list(progress(range(3), "utterances")) == [0, 1, 2]
    assert [record.what for record in records()] == ["sets"]


def test_a_loop_that_is_left_early_lets_the_next_one_be_shown(records):
    for _ in progress(range(5), "first"):
        break
    list(progress(iter("xy"), "second", 2))
    assert records()[0].what == "second"


def test_a_child_does_not_show_the_loop_of_its_parent(records, tmp_path):
    with Progress("utterances", 2):
        child = os.fork()
        if not child:
            module.Progress._active.advance()
            module.Progress._active.close()
            os._exit(0)
        os.waitpid(child, 0)
    assert len(list(tmp_path.glob("*.json"))) == 1


def _list(n: int) -> list[int]:
    return list(progress(range(n), "utterances"))


def test_a_process_of_a_pool_shows_nothing(records):
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        assert pool.submit(_list, 3).result() == [0, 1, 2]
    assert records() == []


def test_skipped_items_are_no_speed(records):
    with Progress("lines", 100) as shown:
        shown.skip(50)
        shown.reach(60)
    assert (records()[0].first, records()[0].done) == (50, 60)


def test_the_work_goes_on_where_records_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path / "gone"))
    assert list(progress(range(3), "utterances")) == [0, 1, 2]


def test_a_library_shows_nothing(capfd, monkeypatch):
    monkeypatch.setattr(module, "due_times", lambda: iter([0.0, 1e9]))
    assert list(progress(range(3), "utterances")) == [0, 1, 2]
    assert capfd.readouterr() == ("", "")


def test_a_log_gets_plain_lines_when_they_are_due(caplog, monkeypatch):
    monkeypatch.setattr(Progress, "_by_hand", True)
    monkeypatch.setattr(module, "_EVERY_S", 0.0)
    seconds = iter(range(100))
    clock = SimpleNamespace(time=lambda: 0.0, monotonic=lambda: next(seconds))
    monkeypatch.setattr(module, "time", clock)
    with caplog.at_level("INFO"):
        assert len(list(progress(range(40), "utterances"))) == 40
    assert caplog.messages == [
        "9 of 40 utterances (22 %), 0:34 left, 1.1 s each",
        "29 of 40 utterances (72 %), 0:11 left, 1.0 s each",
    ]


def test_no_plain_lines_where_the_records_are_shown_anyway(caplog, monkeypatch):
    monkeypatch.setattr(Progress, "_by_hand", True)
    monkeypatch.setattr(module, "due_times", lambda: iter([0.0, 1e9]))
    monkeypatch.setenv(SHOWN, identity(2))
    with caplog.at_level("INFO"):
        list(progress(range(3), "utterances"))
    assert not caplog.messages


def test_by_hand_a_line_moves_on_a_terminal_and_is_gone_at_the_end(root, tmp_path):
    (tmp_path / "work.py").write_text(WORK)
    terminal = Terminal(columns=90)
    process = terminal.start(
        [sys.executable, tmp_path / "work.py"], env={"PYTHONPATH": str(root)}, cwd=root
    )
    last = terminal.watch(process)
    moved = {lines[-1] for lines in terminal.seen if "utterances" in lines[-1]}
    assert len(moved) >= 2 and all(line.startswith("work 0:0") for line in moved)
    assert [line.partition(" ")[2] or line for line in last] == ["INFO half", "ready", ""]


@pytest.mark.parametrize("kind", ["pipe", "dumb"])
def test_elsewhere_nothing_moves(root, tmp_path, kind):
    (tmp_path / "work.py").write_text(WORK)
    environment = {**os.environ, "PYTHONPATH": str(root), "TERM": "dumb"}
    if kind == "dumb":
        terminal = Terminal()
        process = terminal.start([sys.executable, tmp_path / "work.py"], env=environment)
        text = "\n".join(terminal.watch(process))
    else:
        found = subprocess.run(
            [sys.executable, tmp_path / "work.py"], env=environment, capture_output=True, text=True
        )
        assert found.stdout == "ready\n"
        text = found.stderr
    assert "half" in text and "utterances" not in text and "\x1b" not in text


def test_a_record_is_plain_json(records, tmp_path):
    list(progress(range(3), "utterances"))
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["total"] == 3
