"""Trainings on disks that are full or read-only: one line, and nothing is lost."""

import logging
import re

import pytest
import regression
import torch

from speechlm.checkpoints.trainer_files import last_epoch
from speechlm.data.disk import CannotWrite
from speechlm.tasks.logs import LogFile, log_to
from speechlm.tasks.saving import save_file, tensor_bytes


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_checkpoint_without_room_is_one_line_with_both_numbers(
    small_disk, monkeypatch, seen_before
):
    """Seen before it is written, or while it is: another program may take the room meanwhile."""
    path = small_disk.path / "checkpoint.pth"
    save_file({"a": torch.zeros(10)}, path)
    old = path.read_bytes()
    state = {"a": [torch.zeros(1000), {"b": torch.zeros(1 << 18)}]}
    assert tensor_bytes(state) == 4 * 1000 + (4 << 18)
    if not seen_before:
        monkeypatch.setattr("speechlm.tasks.saving.check_room", lambda *_: None)
    with pytest.raises(CannotWrite) as error:
        save_file(state, path)
    expected = rf"{small_disk.path}.*1,052,576 bytes needed, [\d,]+ bytes free in {small_disk.path}"
    assert re.search(expected, str(error.value)) and "\n" not in str(error.value)
    assert path.read_bytes() == old and len(list(small_disk.path.iterdir())) == 1


def test_a_disk_that_fills_up_costs_nothing(tmp_path, small_disk):
    """The training stops with the state after its first epoch, and goes on when there is room."""

    def fill(epoch, i, _batch):
        if (epoch, i) == (2, 3):
            small_disk.fill()

    regression.train(tmp_path / "undisturbed")
    with pytest.raises(CannotWrite, match="checkpoint.pth"):
        regression.train(small_disk.path, fill)
    assert last_epoch(small_disk.path) == 1
    with pytest.raises(CannotWrite, match="a checkpoint and the weights of an epoch: "):
        regression.train(small_disk.path)  # said before any work is done
    small_disk.make_room()
    regression.train(small_disk.path)
    assert regression.contents(small_disk.path) == regression.contents(tmp_path / "undisturbed")


def test_room_that_will_not_be_enough_is_warned_of(tmp_path, monkeypatch, caplog):
    usage = type("usage", (), {"free": 1100})  # weights 108 bytes, a state three times as much
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    regression.train(tmp_path, max_epoch=1)
    assert (
        "1,404 bytes will be needed for checkpoints and weights, and 1,100 are free" in caplog.text
    )


def test_a_read_only_folder_is_told_before_the_training(small_disk):
    small_disk.make_read_only()
    with pytest.raises(CannotWrite, match="Read-only file system; 432 bytes needed"):
        regression.train(small_disk.path)
    with pytest.raises(CannotWrite, match="log and settings of the training: Read-only"):
        log_to(small_disk.path, 0, "INFO")


def test_a_log_that_cannot_be_written_says_so_once(small_disk, capsys):
    handler = LogFile(small_disk.path / "train.log")
    logger = logging.Logger("small")
    logger.addHandler(handler)
    small_disk.fill()
    for _ in range(3):
        logger.warning("x" * 5000)
    assert capsys.readouterr().err.count("train.log cannot be written: ") == 1


def test_only_the_first_worker_writes_the_log_of_the_training(tmp_path, monkeypatch):
    """The others have files of their own, which have warnings and errors."""
    monkeypatch.setattr(logging.root, "handlers", [])
    for rank in range(3):
        log_to(tmp_path, rank, "INFO")
        logging.info("began")
        if rank == 2:
            logging.warning("odd")
    logging.root.handlers[-1].close()
    assert (tmp_path / "train.log").read_text().count("began") == 1
    assert "odd" in (tmp_path / "train.2.log").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["train.2.log", "train.log"]
