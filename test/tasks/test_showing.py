"""What a training says while it runs: updates of all, values, audio seconds of an update."""

import io
import logging
import re
import sys

import pytest
import regression
import torch

from speechlm.progress import loop
from speechlm.progress import records as progress_records
from speechlm.progress.screen import ERASE
from speechlm.score.train_log import TrainLog, _read_line
from speechlm.tasks import logs
from speechlm.tasks.interrupts import Interrupted
from speechlm.tasks.on_host import OnHost

BATCHES, EPOCHS = regression.BATCHES, regression.EPOCHS


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Every record that is written, in their order."""
    written = []
    monkeypatch.setenv(progress_records.FOLDER, str(tmp_path))
    monkeypatch.setattr(loop, "_EVERY_S", 0.0)
    monkeypatch.setattr(loop, "write_record", lambda folder, record: written.append(record))
    return written


def test_updates_of_all_epochs_are_counted(tmp_path, records):
    regression.train(tmp_path / "model")
    total = EPOCHS * BATCHES // 2  # two batches an update
    assert {record.total for record in records} == {total}
    assert sorted({record.done for record in records}) == list(range(total + 1))
    assert re.match(r"loss [\d.]+$", next(r.more for r in records if r.done == 2))
    assert [r.more for r in records if r.done == total][1] == "validation, batch 1"


def test_a_resumed_training_counts_what_was_done(tmp_path, records):
    def stop(epoch, number, batch):
        if (epoch, number) == (2, 3):
            regression.os.kill(regression.os.getpid(), 15)

    with pytest.raises(Interrupted):
        regression.train(tmp_path / "model", stop)
    assert loop.Progress._active is None
    done = records[-1].done
    records.clear()
    regression.train(tmp_path / "model")
    assert records[0].done == records[0].first == done >= BATCHES // 2
    assert records[-1].done == EPOCHS * BATCHES // 2


@pytest.mark.parametrize("wrap", [lambda tensor: tensor, OnHost], ids=["tensor", "on_host"])
def test_the_log_has_the_audio_of_an_update_and_memory(tmp_path, caplog, monkeypatch, wrap):
    """Batches of 2 and 3 s: an update has 5 s, whatever they weigh."""

    def forward(self, x, y, speech_lengths, utt_id=None):
        return plain(self, x, y, utt_id)

    def lengths(epoch, number, batch):
        batch["speech_lengths"] = wrap(torch.tensor([16000, 16000 * (1 + number % 2)]))

    plain = regression.Regression.forward
    monkeypatch.setattr(regression.Regression, "forward", forward)
    with caplog.at_level("INFO"):
        regression.train(tmp_path / "model", lengths, on_validation=lengths, max_epoch=1)
    log = TrainLog()
    for line in caplog.text.splitlines():
        _read_line(line, "2026-01-01 00:00:00,000", log)
    assert log.epochs[1].train["audio_seconds"] == pytest.approx(5.0)
    assert 0.05 < log.epochs[1].memory < 50
    assert log.finished and log.max_epoch == 1


def test_the_log_file_has_nothing_of_the_line(tmp_path, monkeypatch):
    """On a terminal lines of the log erase what moves there; the file has plain lines."""
    seen = io.StringIO()
    monkeypatch.setattr(logs, "is_terminal", lambda stream: True)
    monkeypatch.setattr(sys, "stderr", seen)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    logs.log_to(tmp_path, 0, "INFO")
    logging.info("update 1")
    logging.info("update 2")
    text = (tmp_path / "train.log").read_text()
    assert text.count("INFO: update") == 2 and ERASE not in text
    assert seen.getvalue().count(ERASE) == 2
