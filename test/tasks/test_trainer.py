"""Kills, resuming and bad losses of the trainer, with a model of a few numbers."""

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import regression
import torch

import speechlm.tasks  # noqa: F401
from speechlm.checkpoints.trainer_files import last_epoch
from speechlm.tasks.common import check_weights_file
from speechlm.tasks.ledger import STOPPED, TrainingStopped, fetch
from speechlm.tasks.saving import atomic_saving
from speechlm.tasks.trainer import SpeechLMTrainer

from espnet2.iterators.abs_iter_factory import AbsIterFactory  # isort: skip
from espnet2.train.distributed_utils import DistributedOption  # isort: skip

BATCHES, EPOCHS, Regression = regression.BATCHES, regression.EPOCHS, regression.Regression
contents, in_child, options, train = (
    *(regression.contents, regression.in_child, regression.options, regression.train),
)
KILLED_CALLS = ("replace", "fsync", "symlink", "unlink")


def killed_training(folder: Path, on_batch=lambda *_: None, at_call: int | None = None) -> bool:
    """Train in a child process; whether it was killed (else it ended well)."""

    def run():
        if at_call is not None:
            die_at_call(at_call)
        train(folder, on_batch)

    status = in_child(run)
    assert status in (0, -signal.SIGKILL)
    return status != 0


def die_at_call(number: int) -> None:
    """Kill this process just before its `number`-th call that changes the folder."""
    calls = 0

    def wrap(function):
        def counted(*args, **kwargs):
            nonlocal calls
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            return function(*args, **kwargs)

        return counted

    for name in KILLED_CALLS:
        setattr(os, name, wrap(getattr(os, name)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("undisturbed")
    train(folder)
    return contents(folder)


def test_undisturbed_run_leaves_what_espnet_leaves(undisturbed):
    assert {
        "checkpoint.pth",
        "latest.pth",
        "valid.loss.best.pth",
        "valid.loss.ave.pth",
        "train.loss.ave_2best.pth",
        "valid.loss.ave_2best.till2epoch.pth",
    } <= set(undisturbed)
    assert undisturbed["latest.pth"] == f"{EPOCHS}epoch.pth"


def test_kill_before_every_change_of_the_folder(tmp_path, undisturbed):
    number = 0
    while True:
        folder = tmp_path / str(number)
        if not killed_training(folder, at_call=number):
            break
        train(folder)
        assert contents(folder) == undisturbed, f"killed before change {number}"
        assert not list(folder.glob(".tmp*")), f"killed before change {number}"
        number += 1
    assert number > 3 * EPOCHS  # it was killed in each epoch, at several points


@pytest.mark.parametrize(("epoch", "batch"), [(1, 3), (3, 0), (3, 5)])
def test_kill_within_an_epoch(tmp_path, undisturbed, epoch, batch):
    def die(now, i, _batch):
        if (now, i) == (epoch, batch):
            os.kill(os.getpid(), signal.SIGKILL)

    assert killed_training(tmp_path, die)
    assert last_epoch(tmp_path) == epoch - 1
    train(tmp_path)
    assert contents(tmp_path) == undisturbed


def test_killed_after_early_stopping_does_not_go_on(tmp_path):
    def more_each_epoch(epoch, _i, batch):  # the loss rises
        batch["y"] = batch["y"] + 10 * epoch

    changes = {"patience": 0, "early_stopping_criterion": ("train", "loss", "min")}
    train(tmp_path, more_each_epoch, **changes)
    stopped = last_epoch(tmp_path)
    assert stopped < EPOCHS
    train(tmp_path, more_each_epoch, **changes)
    assert last_epoch(tmp_path) == stopped


def test_loss_that_is_no_number_stops_with_place_and_ids(tmp_path):
    def spoil(epoch, i, batch):
        if (epoch, i) == (3, 2):
            batch["x"][1] = float("nan")

    with pytest.raises(TrainingStopped) as stopped:
        train(tmp_path, spoil)
    message = (tmp_path / STOPPED).read_text()
    assert message.strip() == str(stopped.value)
    assert "epoch 3, batch 3 of the epoch, batch 15 of the run (update 8)" in message
    assert "utt-3-2-0 utt-3-2-1 utt-3-2-2 utt-3-2-3" in message
    assert f"{tmp_path / 'checkpoint.pth'} (epoch 2)" in message
    assert last_epoch(tmp_path) == 2
    train(tmp_path)
    assert not (tmp_path / STOPPED).exists()


def test_gradients_that_are_no_numbers_stop_after_some_updates(tmp_path):
    def spoil(epoch, i, batch):
        if epoch == 2:
            batch["x"] = batch["x"] * 1e18  # the loss is finite, the norm's squares are not

    with pytest.raises(TrainingStopped, match="gradient norm was not finite in 3 updates"):
        train(tmp_path, spoil)


def test_checkpoint_with_code_is_refused(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"model": Harm()}, tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match="checkpoint.pth is cut off or damaged, or holds no"):
        train(tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.fixture
def two_epochs(tmp_path):
    train(tmp_path, max_epoch=2)
    return tmp_path


def test_weights_of_the_last_epoch_come_back_from_the_state(two_epochs, undisturbed):
    (two_epochs / "2epoch.pth").write_bytes(b"")
    train(two_epochs)
    assert contents(two_epochs) == undisturbed


def test_damaged_weights_of_a_best_epoch_are_named_before_training_goes_on(two_epochs):
    content = (two_epochs / "1epoch.pth").read_bytes()
    (two_epochs / "1epoch.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"/1epoch.pth: empty, cut off or damaged, but of the bes"):
        train(two_epochs)
    assert last_epoch(two_epochs) == 2


def test_empty_states_say_which_weights_are_there(two_epochs):
    for name in ("checkpoint.pth", "checkpoint.previous.pth"):
        (two_epochs / name).write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"/checkpoint.pth is .*previous.pth is .*--init_param .*/2epoch.pth"
    ):
        train(two_epochs)


def test_weights_in_place_of_a_state_are_told_apart(two_epochs):
    (two_epochs / "checkpoint.pth").write_bytes((two_epochs / "2epoch.pth").read_bytes())
    with pytest.raises(ValueError, match="has no model, reporter, .*weights of a model alone"):
        train(two_epochs)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"PK\3\4 cut", "is cut off"), (None, "not there")]
)
def test_initial_weights_that_cannot_be_read_are_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "first.pth").write_bytes(content)
    with pytest.raises(ValueError, match=f"first.pth .*{message}"):
        check_weights_file(tmp_path / "first.pth")


def test_a_full_disk_is_an_error_of_the_system(tmp_path, full_disk):
    (tmp_path / "a.pth").write_text("old")
    with full_disk(1000), pytest.raises(OSError, match="a.pth cannot be written"), atomic_saving():
        torch.save(torch.zeros(10_000), tmp_path / "a.pth")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_criterion_that_validation_lacks_is_named(tmp_path):
    with pytest.raises(ValueError, match="validation has no los; it has loss"):
        train(tmp_path, best_model_criterion=[("valid", "los", "min")])
    assert not list(tmp_path.glob("*.pth"))


def burn(seconds: float) -> None:
    """Work for CPU seconds of this process."""
    end = sum(os.times()[:2]) + seconds
    while sum(os.times()[:2]) < end:
        pass


class LoadedBatches(AbsIterFactory):
    """Batches that a process of a loader makes, with work for each."""

    def __init__(self, seconds):
        self.seconds = seconds

    def build_iter(self, epoch, shuffle=None):
        def make(items):
            burn(self.seconds)
            return ["utt"], {"x": torch.ones(4, 8), "y": torch.ones(4, 3)}

        return torch.utils.data.DataLoader(
            range(4), collate_fn=make, num_workers=1, multiprocessing_context="fork"
        )


def test_statistics_become_numbers_together():
    """From a GPU they come in one copy; the numbers are those that ESPnet would take one by one."""
    stats = {"loss": torch.tensor([0.1]), "n": torch.tensor(3), "time": 0.5, "lr": np.float32(2)}
    wide, other = torch.ones(2), {"n": torch.tensor(2**40 + 1), "yes": torch.tensor(True)}
    found = {**stats, "wide": wide}
    fetch([found, other])
    assert found.pop("wide") is wide
    assert found == {"loss": stats["loss"].item(), "n": 3.0, "time": 0.5, "lr": 2.0}
    assert list(found) == list(stats) and other == {"n": 2**40 + 1, "yes": 1.0}
    fetch([{"time": 0.5}])


def test_the_log_has_the_cpu_seconds_of_each_epoch_with_those_of_the_loader(tmp_path, caplog):
    torch.manual_seed(0)
    model = Regression()
    model.register_forward_hook(lambda *_: burn(0.05))
    optimizer = torch.optim.AdamW(model.parameters())
    with caplog.at_level("INFO"):
        SpeechLMTrainer.run(
            model=model,
            optimizers=[optimizer],
            schedulers=[None],
            train_iter_factory=LoadedBatches(0.1),
            valid_iter_factory=LoadedBatches(0.0),
            plot_attention_iter_factory=None,
            trainer_options=options(tmp_path, max_epoch=2),
            distributed_option=DistributedOption(),
        )
    lines = re.findall(r"(\d)epoch:(\w+): cpu_seconds=([\d.]+)", caplog.text)
    assert [line[:2] for line in lines] == [(e, p) for e in "12" for p in ("train", "valid")]
    for _, phase, seconds in lines:  # four batches
        least = 4 * 0.15 if phase == "train" else 4 * 0.05
        assert least - 0.05 <= float(seconds) < least + 0.35
