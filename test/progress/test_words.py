"""What is said of work under way: shares, times, speeds, and when."""

import json
from dataclasses import asdict
from itertools import islice

import pytest

from speechlm.progress.records import Record, read_records, together, write_record
from speechlm.progress.words import State, clock, due_times, line, plain, printable, speed


def record(**values) -> Record:
    known = {
        "program": "align",
        "what": "utterances",
        "done": 10.0,
        "total": 100.0,
        "more": "",
        "first": 0.0,
        "seconds": 5.0,
        "began": 1000.0,
        "jobs": 1,
    }
    return Record(**known | values)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.6, "1:00"),
        (754, "12:34"),
        (3600, "1:00:00"),
        (11100, "3:05:00"),
        (2 * 86400 + 61, "2 d 0:01:01"),
    ],
)
def test_times(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (1234.5, "1,234 a second"),
        (1.25, "1.2 a second"),
        (0.25, "4.0 s each"),
        (0.005, "3:20 each"),
    ],
)
def test_speeds(rate, text):
    assert speed(rate) == text


def test_a_plain_line_has_share_time_and_speed():
    text = plain(State("updates", 250, 1000, 2.5, "loss 3.01"))
    assert text == "250 of 1,000 updates (25 %), 5:00 left, loss 3.01, 2.5 a second"


def test_where_the_total_is_unknown_no_time_left_is_said():
    assert plain(State("files", 20, None, 4.0)) == "20 files, 4.0 a second"


def test_when_all_is_done_no_time_is_left():
    assert "left" not in plain(State("files", 20, 20, 4.0))


@pytest.mark.parametrize("width", range(20, 140, 7))
def test_a_line_fits_into_its_columns(width):
    text = line("stage 13 | decode", State("utterances", 5, 10, 1.0, "2 jobs"), 65, width)
    assert len(text) <= width
    assert ("#" * 10 + "." * 10 in text) == (width > 110)
    assert text.startswith("stage 13 | decode 1:05"[:width][:18])


def test_plain_lines_come_at_growing_intervals():
    times = list(islice(due_times(), 12))
    assert times == [10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 14400]


def test_parallel_jobs_are_added_up():
    state = together([record(done=30.0), record(done=100.0), record(done=10.0)])
    assert (state.done, state.total) == (140, 300)
    assert state.rate == pytest.approx(6 + 2)  # the one that is through has no speed


def test_jobs_that_have_not_begun_count_as_large_as_the_others():
    state = together([record(jobs=4), record(jobs=4, total=120.0)])
    assert state.total == 440
    assert "2 of 4 jobs begun" in state.more


def test_a_lost_attempt_of_a_job_does_not_count():
    jobs = [record(began=1.0, done=90.0, jobs=2), record(began=2.0, jobs=2)]
    assert together([*jobs, record(began=9.0, done=20.0, jobs=2)]).done == 30


def test_loops_that_are_over_are_no_work_that_is_counted():
    """The command goes on, with what has no count: the line must not stand at 100 %."""
    both = [record(done=100.0, ended=True), record(done=90.0)]
    assert together(both).total == 200
    both[1] = record(done=100.0, ended=True)
    assert plain(together(both)) == "200 utterances, done"
    waiting = [record(done=100.0, ended=True, jobs=2)]
    assert together(waiting).total == 200


def test_what_began_last_is_shown():
    assert together([record(), record(what="chunks", began=2000.0, done=1.0)]).what == "chunks"
    assert together([]) is None


def test_what_an_earlier_run_has_done_is_no_speed():
    state = together([record(first=9.0)])
    assert state.rate == pytest.approx(0.2) and state.done == 10


def test_records_are_read_whatever_else_is_in_the_folder(tmp_path):
    write_record(tmp_path, record())
    (tmp_path / "half.json").write_text('{"program": "al')
    (tmp_path / "other.json").write_text("[1, 2]")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "less.json").write_text('{"program": "align"}')
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    assert read_records(tmp_path) == [record()]
    assert read_records(tmp_path / "gone") == []


@pytest.mark.parametrize(
    "change",
    [
        {"done": None},
        {"total": "10"},
        {"total": float("nan")},
        {"done": float("inf")},
        {"began": [1]},
        {"jobs": None},
        {"more": 3},
    ],
)
def test_values_that_no_record_has_are_left_out(tmp_path, change):
    write_record(tmp_path, record())
    values = asdict(record()) | change
    (tmp_path / "other.json").write_text(json.dumps(values))
    assert read_records(tmp_path) == [record()]


@pytest.mark.parametrize("width", range(1, 30))
def test_a_line_is_never_wider_than_its_terminal(width):
    assert 0 < len(line("stage 7 | units", together([record()]), 61.0, width)) <= width


def test_what_would_move_the_cursor_is_not_shown():
    assert printable("a\x1b[2J\nb\u202e\udce9ü日") == "a\ufffd[2J\ufffdb\ufffd\ufffdü日"
