"""Trainings as several processes, as torchrun and tools/ranks.py start them."""

import os
import re
import signal
import socket
import time

import pytest
import torch

from speechlm.checkpoints.model_dir import load_speechlm
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.conventions import INTERRUPTED
from speechlm.tasks import run_asr
from speechlm.tasks.inside import INSIDE
from speechlm.tasks.joint import JointBatches
from speechlm.tasks.run_asr import finetune_asr
from speechlm.tasks.run_pretrain import pretrain


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def become(rank: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)


def two_ranks(train, prepare=lambda rank: None) -> list[int]:
    """Exit codes of two processes that train, after `prepare(rank)`; negative: signals."""
    children, port = [], free_port()
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                become(rank, port)
                prepare(rank)
                train()
                status = 0
            except SystemExit as end:
                status = end.code
            finally:
                os._exit(status)
        children.append(pid)
    codes: list[int | None] = [None, None]
    deadline = time.monotonic() + 300
    while None in codes:
        for rank, pid in enumerate(children):
            ended, status = os.waitpid(pid, os.WNOHANG) if codes[rank] is None else (0, 0)
            if ended:
                codes[rank] = os.waitstatus_to_exitcode(status)
                # A rank whose peer has failed before they met would wait for half an hour.
                deadline = min(deadline, time.monotonic() + 60) if codes[rank] else deadline
            elif codes[rank] is None and time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return codes


def at_batch(number: int, of: int, action):
    """`prepare` that lets a rank do something when it makes its batch of that number."""

    def prepare(rank):
        if rank == of:
            made, make = iter(range(1000)), JointBatches.__getitem__

            def item(self, i):
                if next(made) == number:
                    action()
                return make(self, i)

            JointBatches.__getitem__ = item

    return prepare


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_options, config_values):
    """An undisturbed pre-training by two ranks: folder and call."""
    folder = tmp_path_factory.mktemp("two")
    config = config_values(folder, "pretrain", max_epoch=2)

    def train(output):
        pretrain(output, config, {**data_options, "ngpu": 0})

    assert two_ranks(lambda: train(folder / "exp")) == [0, 0]
    return folder / "exp", train


def test_rank_0_writes_the_log_and_the_model(trained):
    folder, _ = trained
    log = (folder / "train.log").read_text()
    assert len(re.findall(r"1/2epoch started", log)) == 1
    assert not (folder / "train.1.log").exists()  # it has nothing to warn of
    assert "dist_backend: gloo" in (folder / "config.yaml").read_text()
    load_speechlm(folder)


def test_a_signal_to_one_rank_stops_both_and_they_go_on_to_the_same_bits(trained, tmp_path):
    whole, train = trained
    stop = at_batch(7, of=1, action=lambda: os.kill(os.getpid(), signal.SIGUSR1))
    assert two_ranks(lambda: train(tmp_path), stop) == [INTERRUPTED] * 2
    assert not (tmp_path / "train.1.log").exists()  # that it was stopped is said once
    position = load_weights_only(tmp_path / "checkpoint.pth")[INSIDE]
    assert position["epoch"] == 2 and len(position["random"]) == 2
    assert two_ranks(lambda: train(tmp_path)) == [0, 0]
    ours, theirs = (load_weights_only(f / "checkpoint.pth")["model"] for f in (tmp_path, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_error_of_a_rank_is_in_its_own_log_and_ends_the_other(trained, tmp_path):
    def fail():
        raise KeyError("lost utterance")

    begun = time.monotonic()
    codes = two_ranks(lambda: trained[1](tmp_path), at_batch(3, of=1, action=fail))
    assert codes == [1, 1] and time.monotonic() - begun < 60
    log = (tmp_path / "train.1.log").read_text()
    assert "ERROR: KeyError: 'lost utterance'" in log and "Traceback" in log
    assert "lost utterance" not in (tmp_path / "train.log").read_text()


def test_ranks_wait_for_the_weights_that_the_first_one_writes(
    trained, tmp_path, chords, config, monkeypatch
):
    make = run_asr._initial_weights

    def slowly(*arguments):
        time.sleep(1.5)
        return make(*arguments)

    monkeypatch.setattr(run_asr, "_initial_weights", slowly)
    path = config("finetune", max_epoch=1, num_iters_per_epoch=2)

    def train():
        # --ngpu is of the machine; here is none
        folders = (chords / "train", chords / "dev", trained[0])
        finetune_asr(tmp_path / "exp", path, *folders, {"seed": 3, "ngpu": 0})

    assert two_ranks(train) == [0, 0]
    assert (tmp_path / "exp" / "1epoch.pth").exists()
