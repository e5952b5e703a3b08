"""Two workers make the updates of one that has all of their batches, with the same draws."""

import os
import shutil
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
import regression
import torch
import torch.distributed as dist

from speechlm.checkpoints.trainer_files import CHECKPOINT, load_weights_only
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.tasks.pretrain import PretrainModel
from speechlm.tasks.trainer import SpeechLMTrainer

from espnet2.iterators.abs_iter_factory import AbsIterFactory  # isort: skip
from espnet2.train.distributed_utils import DistributedOption  # isort: skip
from espnet2.train.reporter import SubReporter  # isort: skip

UPDATES = 10


def model(layerdrop: float) -> PretrainModel:
    torch.manual_seed(0)
    sizes = {"embed_dim": 32, "ffn_dim": 64, "heads": 2, "speech_layers": 2, "shared_layers": 2}
    drop = {"speech_layerdrop": layerdrop, "shared_layerdrop": layerdrop}
    return PretrainModel(SpeechLM(SpeechLMConfig.tiny(**sizes, **drop), 369, 33), with_text=True)


def batch(number: int) -> tuple[list[str], dict[str, torch.Tensor]]:
    """Batches have different numbers of masked frames, and draw from seeds of their own."""
    random = np.random.default_rng(number)
    samples = 6000 + 1500 * (number % 5)
    return ["a", "b"], {
        "waveforms": torch.tensor(random.normal(0, 0.1, (2, samples)), dtype=torch.float32),
        "sample_lengths": torch.tensor([samples, samples]),
        "labels": torch.tensor(random.integers(4, 300, (2, samples // 160 - 2))),
        "units": torch.tensor(random.integers(4, 300, (2, 40 + number % 3))),
        "characters": torch.tensor(random.integers(4, 30, (2, 12))),
        "seed": torch.tensor(number),
    }


class Batches(AbsIterFactory):
    """Those of a worker: of all batches every `workers`-th."""

    def __init__(self, count: int, rank: int, workers: int) -> None:
        self.numbers = range(rank, count, workers)

    def build_iter(self, epoch, shuffle=None):
        return (batch(number) for number in self.numbers)


def run(folder: Path, rank: int, workers: int, accumulated: int, layerdrop: float) -> tuple:
    """Loss and weight of each batch (of all workers) in training, and norms of gradients."""
    reported, norms, register = [], [], SubReporter.register

    def note(self, stats, weight=None):
        if "loss" in stats and self.key == "train":
            reported.append((float(stats["loss"]), float(weight)))
        if "grad_norm" in stats:
            norms.append(float(stats["grad_norm"]))
        register(self, stats, weight)

    SubReporter.register = note
    network = model(layerdrop)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, betas=(0.9, 0.98), eps=1e-6)
    try:
        SpeechLMTrainer.run(
            model=network,
            optimizers=[optimizer],
            schedulers=[None],
            train_iter_factory=Batches(UPDATES * accumulated * workers, rank, workers),
            valid_iter_factory=Batches(2, rank, workers),
            plot_attention_iter_factory=None,
            trainer_options=regression.options(
                folder, max_epoch=1, accum_grad=accumulated, unused_parameters=layerdrop > 0
            ),
            distributed_option=DistributedOption(
                distributed=workers > 1, dist_rank=rank, dist_world_size=workers
            ),
        )
    finally:
        SubReporter.register = register
    return reported, norms


def worker(rank: int, folder: Path, *options) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    reported, norms = run(folder, rank, 2, *options)
    if rank == 0:
        torch.save({"reported": reported, "norms": norms}, folder / "reported.pth")
    dist.barrier()
    dist.destroy_process_group()


def losses(reported: list, batches: int) -> list[float]:
    """Of each update, from its so many batches."""
    parts = [reported[i : i + batches] for i in range(0, len(reported), batches)]
    return [sum(x * n for x, n in part) / sum(n for _, n in part) for part in parts]


def start_two(function, *arguments) -> list[int]:
    """Call it in two processes as function(rank, ...); their numbers."""
    children = []
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                function(rank, *arguments)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    return children


@pytest.mark.parametrize(("accumulated", "layerdrop"), [(1, 0.0), (1, 0.3), (2, 0.3)])
def test_two_workers_learn_as_one(tmp_path, accumulated, layerdrop):
    (tmp_path / "two").mkdir()
    children = start_two(worker, tmp_path / "two", accumulated, layerdrop)
    (tmp_path / "one").mkdir()
    one, norms = run(tmp_path / "one", 0, 1, 2 * accumulated, layerdrop)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    saved = load_weights_only(tmp_path / "two" / "reported.pth")
    two = saved["reported"]
    assert len({weight for _, weight in one}) > 3
    ours, expected = losses(two, accumulated), losses(one, 2 * accumulated)
    assert len(ours) == UPDATES and ours[-1] < 0.95 * ours[0]
    assert ours == pytest.approx(expected, rel=1e-6)
    assert len(norms) == UPDATES and saved["norms"] == pytest.approx(norms, rel=1e-4)
    weights = [load_weights_only(tmp_path / name / "latest.pth") for name in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("appears", [True, False])
def test_workers_that_do_not_see_the_same_checkpoint_do_not_train(tmp_path, monkeypatch, appears):
    """On two nodes whose folders are not the same; or are, but a file comes into view late."""
    monkeypatch.setattr("speechlm.tasks.trainer._SHOWN_S", 60.0 if appears else 0.5)
    regression.train(tmp_path / "0", max_epoch=1)
    (tmp_path / "1").mkdir()

    def go_on(rank: int) -> None:
        meet = f"file://{tmp_path}/meet"
        dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=2)
        folder = tmp_path / str(rank)
        if rank and appears:
            shutil.copy(tmp_path / "0" / CHECKPOINT, folder / "late")
            Timer(1.0, os.rename, [folder / "late", folder / CHECKPOINT]).start()
        try:
            regression.train(folder, max_epoch=1)
        except ValueError as error:
            (tmp_path / f"error.{rank}").write_text(str(error))

    children = start_two(go_on)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    said = [path.read_text() for path in tmp_path.glob("error.*")]
    assert len(said) == (0 if appears else 2)
    assert all("is there for worker 0, but not so for 1: the folder of" in text for text in said)


def uneven(rank: int, folder: Path, known: bool) -> None:
    """A worker with six batches and one with four, of which two are an update."""
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=2)
    batches = [(["a"], {"x": torch.ones(2, 8), "y": torch.ones(2, 3)})] * (6, 4)[rank]

    class Uneven(AbsIterFactory):
        def build_iter(self, epoch, shuffle=None):
            return batches if known else iter(batches)

    network = regression.Regression()
    optimizer = torch.optim.AdamW(network.parameters())
    SpeechLMTrainer.run(
        model=network,
        optimizers=[optimizer],
        schedulers=[None],
        train_iter_factory=Uneven(),
        valid_iter_factory=Uneven(),
        plot_attention_iter_factory=None,
        trainer_options=regression.options(folder, max_epoch=2),
        distributed_option=DistributedOption(distributed=True, dist_rank=rank, dist_world_size=2),
    )
    dist.destroy_process_group()


@pytest.mark.parametrize("known", [True, False])
def test_workers_make_as_many_batches_as_the_one_that_has_the_fewest(tmp_path, known):
    children = start_two(uneven, tmp_path, known)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    states = load_weights_only(tmp_path / CHECKPOINT)
    counts = [
        epoch[part]["total_count"]
        for epoch in states["reporter"]["stats"].values()
        for part in epoch
    ]
    assert counts == [4, 4, 8, 8]  # train and valid, of two epochs
    assert {int(state["step"]) for state in states["optimizers"][0]["state"].values()} == {4}
