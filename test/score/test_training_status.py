"""The status of trainings: state, place, values, what is odd; damaged and foreign folders."""

import datetime
import json
import os
import socket
import subprocess
import sys
import time

import pytest

from speechlm.progress.records import Record, write_record
from speechlm.score import claims
from speechlm.score.status_table import HEAD, status_table
from speechlm.score.train_log import Stretch, read_train_log
from speechlm.score.training_status import (
    FINISHED,
    RUNNING,
    STOPPED,
    WAITING,
    collapses,
    find_trainings,
    spikes,
    status_of,
    steep_gradients,
)

NOW = 1_780_000_000.0


def line(seconds: float, text: str, level: str = "INFO") -> str:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOW + seconds))
    return f"{moment},000 (trainer:1) {level}: {text}\n"


def epoch(n: int, begin: float, loss: float, ended: bool = True, of: int = 4) -> str:
    """100 batches in 50 s, two stretches; validation takes 10 s."""
    values = "loss_ctc=0.5, accuracy_middle=0.3, accuracy_top=0.4, grad_norm=1.0, train_time=0.5"
    text = line(begin, f"{n}/{of}epoch started")
    for last in (50, 100) if ended else (50,):
        stretch = f"{n}epoch:train:{last - 49}-{last}batch: loss={loss:.3f}{values}"
        text += line(begin + last / 2, f"{stretch}, audio_seconds=20.0")
    if ended:
        text += line(begin + 50, f"{n}epoch:train: cpu_seconds=40.00, memory_gb=1.50")
        text += line(
            begin + 60,
            f"{n}epoch results: [train] loss={loss:.3f}, total_count={100 * n}, [valid] "
            f"loss={loss + 1:.3f}, accuracy_top=0.35, total_count={n}",
        )
    return text


@pytest.fixture
def training(tmp_path):
    def make(*parts: str, name: str = "pretrain", age: float = 3600.0):
        folder = tmp_path / "exp" / name
        folder.mkdir(parents=True)
        (folder / "train.log").write_text("".join(parts))
        (folder / "config.yaml").write_text("accum_grad: 2\nnum_iters_per_epoch: 100\n")
        moment = time.time() - age
        os.utime(folder / "train.log", (moment, moment))
        return folder

    return make


def claim(folder, name="run", **changes):
    """A claim beside the training's folder, of this process where nothing else is said."""
    place = folder.with_name(f".{folder.name}.owner")
    place.mkdir(exist_ok=True)
    known = {
        "pid": os.getpid(),
        "start": claims._started(os.getpid()),
        "host": socket.gethostname(),
        "machine": claims._machine(),
        "job": "",
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "token": "x",
    }
    (place / name).write_text(json.dumps(known | changes))
    return place / name


def test_a_training_in_the_midst_of_an_epoch(training):
    folder = training(epoch(1, 0, 4.0), epoch(2, 60, 2.0, ended=False), age=1.0)
    found = status_of(folder)
    assert (found.state, found.done, found.total) == (RUNNING, 75, 200)
    # half of this epoch and two others, of 60 s each with validation
    assert found.left == pytest.approx(60 * 2.5)
    assert found.loss == 2.0 and found.trend == pytest.approx(-0.5) and found.ctc == 0.5
    assert found.accuracies == [0.3, 0.4]
    assert found.valid["loss"] == 5.0
    assert (found.rate, found.audio, found.memory) == (2.0, 40.0, 1.5)
    assert not found.warnings


def test_before_the_first_epoch_has_ended_its_length_is_that_of_the_configuration(training):
    found = status_of(training(epoch(1, 0, 4.0, ended=False), age=1.0))
    assert (found.done, found.total) == (25, 200)
    assert found.left == pytest.approx(50 * 3.5)


def test_a_finished_training(training):
    log = [*(epoch(n, 60 * n, 4.0 / n) for n in (1, 2, 3, 4))]
    found = status_of(training(*log, line(300, "The training was finished at 4 epochs ")))
    assert (found.state, found.done, found.total, found.left) == (FINISHED, 200, 200, None)


def test_one_that_goes_on_after_its_end_is_not_finished(training):
    log = (epoch(1, 0, 4.0, of=1), line(70, "The training was finished at 1 epochs "))
    assert status_of(training(*log, epoch(2, 80, 3.0, ended=False), age=1.0)).state == RUNNING


def test_an_epoch_that_was_begun_again_counts_once(training):
    log = (epoch(1, 0, 4.0), epoch(2, 60, 9.0, ended=False), epoch(2, 200, 2.0))
    found = status_of(training(*log))
    assert found.done == 100 and found.loss == 2.0


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("", "nobody is at work, and its log ends there; start the stage again"),
        (
            line(90, "stopped by SIGTERM after 3 batches of epoch 2", "WARNING"),
            "by SIGTERM after 3",
        ),
        (line(90, "CannotWrite: the disk is full", "ERROR"), "the disk is full"),
    ],
)
def test_why_a_training_has_stopped(training, more, reason):
    found = status_of(training(epoch(1, 0, 4.0), more))
    assert found.state == STOPPED
    assert reason in found.warnings[0]


def test_a_loss_that_was_not_finite_is_named(training):
    folder = training(epoch(1, 0, 4.0))
    (folder / "STOPPED.txt").write_text("training stopped: the loss is not finite ([nan])\nmore")
    assert status_of(folder).warnings == ["stopped: the loss is not finite ([nan])"]


def test_an_error_soon_after_which_the_log_is_fresh_is_no_running_training(training):
    log = (epoch(1, 0, 4.0), line(90, "ValueError: odd", "ERROR"))
    assert status_of(training(*log, age=1.0)).state == STOPPED


def test_a_claim_says_that_it_runs_and_where(training):
    folder = training(epoch(1, 0, 4.0), age=0.0)
    path = claim(folder, since=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOW)))
    before = sorted(path.parent.iterdir()), path.stat().st_mtime
    found = status_of(folder)
    assert (found.state, found.where) == (RUNNING, socket.gethostname())
    assert (sorted(path.parent.iterdir()), path.stat().st_mtime) == before  # only read


def test_a_step_whose_training_has_not_begun_waits(training):
    folder = training(epoch(1, 0, 4.0))  # of an earlier run
    claim(folder)
    assert status_of(folder).state == WAITING


def test_a_job_of_a_cluster_runs_on_its_node(training):
    folder = training(epoch(1, 0, 4.0))
    claim(folder)
    claim(folder, "job.17", host="node3", machine="node3 x y", job="17")
    found = status_of(folder)
    assert (found.state, found.where) == (RUNNING, "job 17 on node3")


@pytest.mark.parametrize(
    ("changes", "age", "alive"),
    [
        ({"pid": 2**22 + 1}, 0, False),
        ({"start": "1"}, 0, False),
        ({"machine": "elsewhere"}, 5, True),
        ({"machine": "elsewhere"}, 300, False),
        ({"since": "?"}, 0, False),
    ],
)
def test_claims_of_the_dead(tmp_path, changes, age, alive):
    path = claim(tmp_path / "x", **changes)
    os.utime(path, (time.time() - age, time.time() - age))
    assert (claims.owners_of(tmp_path / "x").step is not None) == alive


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, '{"pid": 1}', "\x00\xff"])
def test_half_a_claim_is_none(tmp_path, content):
    claim(tmp_path / "x").write_text(content)
    assert claims.owners_of(tmp_path / "x") == claims.Owners(None, ())


def test_the_claims_are_those_that_steps_make(tmp_path, root):
    """As tools/owner.py writes them."""
    script = (
        f"import sys; sys.path.insert(0, {str(root / 'tools')!r}); import owner, time\n"
        "from pathlib import Path\n"
        "with owner.owned(Path(sys.argv[1]), print, 1.0):\n"
        "    print('owned', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / ".x.owner"], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"owned\n"
        step = claims.owners_of(tmp_path / "x").step
        assert step.host == socket.gethostname() and abs(step.since - time.time()) < 60
    finally:
        process.kill()
        process.wait()
    assert claims.owners_of(tmp_path / "x").step is None


def test_records_are_newer_than_the_log(training):
    folder = training(epoch(1, 0, 4.0), age=1.0)
    (folder.parent / ".pretrain.progress").mkdir()
    values = {"program": "pretrain", "what": "updates", "done": 66, "total": 200, "more": ""}
    record = Record(**values, first=50, seconds=4.0, began=NOW, jobs=1)
    write_record(folder.parent / ".pretrain.progress", record)
    found = status_of(folder)
    assert (found.done, found.rate) == (66, 4.0)
    assert found.left == pytest.approx((200 - 66) / 4)


def test_an_epoch_shorter_than_the_interval_of_the_log(training):
    text = "".join(x for x in epoch(1, 0, 4.0).splitlines(True) if "batch:" not in x)
    assert status_of(training(text)).loss == 4.0


@pytest.mark.parametrize("name", ["train.log", "config.yaml"])
@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\xfe\n" * 9, b"[" * 50_000, b"2026-01-01 00:00:00"]
)
def test_what_is_damaged_is_no_error(training, name, content):
    folder = training(epoch(1, 0, 4.0), epoch(2, 60, 2.0, ended=False))
    (folder / name).write_bytes(content)
    assert status_table([status_of(folder)], 80)


@pytest.mark.parametrize(
    "text",
    [
        "2026-13-29 25:00:00,000 (trainer:1) INFO: 9/9epoch started\n",
        line(200, f"{'9' * 5000}/4epoch started"),
        line(200, f"2epoch:train:51-{'9' * 5000}batch: loss=1.0"),
        line(200, "0epoch:train: cpu_seconds=1.2.3"),
    ],
)
def test_lines_that_no_training_has_written_are_passed_over(training, text):
    whole = [epoch(1, 0, 4.0), epoch(2, 60, 2.0, ended=False)]
    assert status_of(training(*whole, text)).done == 75


def test_a_clock_that_was_set_back_leaves_no_negative_time(training):
    begun = line(0, "1/4epoch started")
    status = status_of(training(begun, line(-3600, "1epoch:train:1-50batch: loss=1.0"), age=1.0))
    assert status.state == RUNNING and status.left == 0


def test_a_record_of_another_kind_is_passed_over(training):
    folder = training(epoch(1, 0, 4.0))
    place = folder.with_name(".pretrain.progress")
    place.mkdir()
    values = {"program": "pretrain", "what": "updates", "done": 7.0, "total": None, "more": ""}
    values |= {"first": 0.0, "seconds": 5.0, "began": None, "jobs": 1, "ended": False}
    (place / "host.1.json").write_text(json.dumps(values))
    assert status_of(folder).done == 50


def test_a_log_that_is_cut_at_any_place_is_read(training):
    text = epoch(1, 0, 4.0) + epoch(2, 60, 2.0)
    folder = training(text)
    for end in range(0, len(text), 7):
        (folder / "train.log").write_text(text[:end])
        status_of(folder)


def test_trainings_are_found_below_and_other_folders_are_passed_over(training, tmp_path):
    folder = training(epoch(1, 0, 4.0))
    (tmp_path / "exp" / "recognizer" / "network").mkdir(parents=True)
    (tmp_path / "exp" / "recognizer" / "network" / "train.log").touch()
    (tmp_path / "exp" / "begun").mkdir()
    (tmp_path / "exp" / "begun" / ".started").touch()
    (tmp_path / "exp" / "other").mkdir()
    (tmp_path / "exp" / "loop").symlink_to(tmp_path / "exp")
    names = [path.name for path in find_trainings([tmp_path / "exp", folder])]
    assert names == ["begun", "pretrain", "network"]


def test_a_training_is_found_from_inside_and_once(training, monkeypatch):
    folder = training(epoch(1, 0, 4.0))
    claim(folder)
    monkeypatch.chdir(folder)
    for name in (".", "../pretrain", "../pretrain/."):
        (found,) = find_trainings([name, folder, folder.parent])
        status = status_of(found)
        assert status.where == socket.gethostname() and status_table([status], 80)


def test_no_training_is_said_in_words(tmp_path):
    with pytest.raises(
        ValueError, match=r"gone: a folder of trainings expected, but there is none"
    ):
        find_trainings([tmp_path / "gone"])
    with pytest.raises(ValueError, match=r"no training in .*train\.log expected"):
        find_trainings([tmp_path])


def stretches(name: str, *values: float) -> list[Stretch]:
    moment = datetime.datetime(2026, 1, 1)
    return [Stretch(n, moment, {name: value}) for n, value in enumerate(values, 1)]


def test_spikes_of_the_loss():
    assert spikes(stretches("loss", 5, 4, 3.5, 3.3, 3.2, 3.1)) == []
    (text,) = spikes(stretches("loss", 5, 4, 3.5, 9, 3.2, 8))
    assert "rose 2 times" in text and "last to 8" in text
    assert spikes(stretches("loss", 5, 4, 3.5, float("nan")))
    assert spikes(stretches("loss", -3, -3.1, -3.2, -3.1)) == []  # a likelihood


def test_units_that_collapse():
    assert collapses(stretches("accuracy_top", 0.1, 0.3, 0.5)) == []
    assert "fell from 0.500 to 0.100" in collapses(stretches("accuracy_top", 0.3, 0.5, 0.1))[0]
    assert "has not risen above 0.140" in collapses(stretches("accuracy_top", *[0.14] * 12))[0]
    assert collapses(stretches("accuracy_top", *[0.95] * 12)) == []


def test_steep_gradients():
    assert steep_gradients(stretches("grad_norm", 1, 1.2, 0.9, 1.5)) == []
    assert "is 9, it was about 1" in steep_gradients(stretches("grad_norm", 1, 1.2, 1, 0.9, 9))[0]
    assert "is inf" in steep_gradients(stretches("grad_norm", 1, float("inf")))[0]


def test_the_table_leaves_out_columns_that_have_no_room(training):
    found = [status_of(training(epoch(1, 0, 4.0), name=name)) for name in ("a", "bb")]
    wide = status_table(found, None).splitlines()
    assert [word for word in HEAD if word in wide[0]] == [
        w for w in HEAD if w not in ("left", "checkpoint")
    ]
    for width in (30, 60, 90):
        table = status_table(found, width).splitlines()
        assert all(len(text) <= width for text in table if not text.startswith("!"))
        assert table[1].startswith("a         stopped")
    assert wide[3].startswith("! a: stopped: nobody")


def test_reading_an_empty_log(tmp_path):
    (tmp_path / "train.log").touch()
    assert read_train_log(tmp_path / "train.log").epochs == {}
