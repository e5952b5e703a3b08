"""Broken updates that never get into the weights, numbers that are read late, several workers."""

import argparse
import logging
import math
import re
from types import SimpleNamespace

import pytest
import regression
import torch
from regression import train

from speechlm.checkpoints.trainer_files import CHECKPOINT, load_weights_only
from speechlm.tasks import common, exchange, ledger, loop
from speechlm.tasks.inside import INSIDE, Run
from speechlm.tasks.ledger import STOPPED, Ledger, TrainingStopped
from speechlm.tasks.resuming import restore_optimizer
from speechlm.tasks.trainer import SpeechLMTrainer
from speechlm.tasks.updates import Updates, skips_on_device

from espnet2.train.reporter import SubReporter  # isort: skip
from espnet2.torch_utils.recursive_op import recursive_average  # isort: skip

LATE = 4


@pytest.fixture
def late(monkeypatch):
    """Numbers of a CPU are read as late as those of a GPU."""
    monkeypatch.setattr(ledger, "read_every", lambda device: LATE)


class Scripted(torch.nn.Module):
    """A batch says what its loss does to three weights."""

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))

    def forward(self, kind, utt_id=None):
        loss = (self.weights.square().sum() * (1.0 + len(kind)))[None]
        if kind == "loss is no number":
            loss = loss * math.nan
        if kind == "loss is infinite, its gradient is not":
            loss = loss + math.inf
        if kind == "gradient's norm is infinite":
            loss = loss * 1e25
        return loss, {"loss": loss}, torch.ones(1)


BROKEN = (
    "loss is no number",
    "loss is infinite, its gradient is not",
    "gradient's norm is infinite",
)


def learn(kinds, fused, accumulated=1, scaler=None):
    """Weights, state of the optimiser and norms of updates from batches of these kinds."""
    model = Scripted()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused or None)
    options = SimpleNamespace(
        max_epoch=1,
        **{"accum_grad": accumulated, "grad_clip": 1.0, "grad_clip_type": 2.0, "use_amp": False},
        **{"log_interval": 1000, "checkpoint_minutes": 0.0, "max_nonfinite_updates": 99},
        output_dir="",
    )
    run = Run(options, model, [optimizer], [None])
    updates = Updates(model, [optimizer], [None], scaler, options)
    assert updates.on_device == (fused and scaler is None)
    book = Ledger(SubReporter("train", 1, 0), run, torch.device("cpu"))
    book._report = lambda entry: seen.append(entry.update.norm if entry.update else None)
    seen: list = []
    book.reporter = SimpleNamespace(key="train", next=lambda: None)
    loop.train(model, [([], {"kind": kind}) for kind in kinds], updates, book, run, print)
    state = optimizer.state[model.weights]
    return [model.weights.detach().clone(), *state.values()], seen


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_update_leaves_weights_and_moments_as_they_are(kind, fused, late):
    """As if the batch had not been; the next ones learn."""
    without, _ = learn(["a", "bb", "c", "d"], fused)
    found, norms = learn(["a", "bb", kind, "c", kind, "d"], fused)
    assert all(torch.equal(x, y) for x, y in zip(found, without, strict=True))
    assert len(norms) == 6 and not torch.equal(found[0], Scripted().weights)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_batch_breaks_the_whole_update(kind, late):
    without, _ = learn(["a", "bb", "c", "d"], True, 2)
    for broken in ([kind, "x"], ["x", kind]):
        found, norms = learn(["a", "bb", *broken, "c", "d"], True, 2)
        assert all(torch.equal(x, y) for x, y in zip(found, without, strict=True))
        assert [norm is None for norm in norms] == [True, False] * 3


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", BROKEN)
def test_float16_has_a_scale_that_falls_behind_a_broken_gradient(kind, fused):
    """Updates are those without a scale; gradients that are no numbers have halved it twice."""
    without, _ = learn(["a", "bb", "c", "d"], fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    found, _ = learn(["a", "bb", kind, "c", kind, "d"], fused, scaler=scaler)
    assert all(torch.equal(x, y) for x, y in zip(found, without, strict=True))
    assert scaler.get_scale() == (256.0 if kind == "loss is no number" else 1024.0)


def reports(caplog) -> list[str]:
    """What the log says of the means of batches, without times."""
    lines = [line for line in caplog.messages if "batch:" in line or "results" in line]
    return [re.sub(r",? ?\w*time=[^,]*", "", line) for line in lines]


@pytest.mark.parametrize("fused", [True, False])
def test_what_is_read_late_is_the_same(tmp_path, monkeypatch, caplog, fused):
    """Weights, statistics of the checkpoints, and lines of the log."""
    caplog.set_level(logging.INFO)
    found = []
    for number in (1, LATE, 5):  # 5 ends within an update of two batches
        monkeypatch.setattr(ledger, "read_every", lambda device, number=number: number)
        caplog.clear()
        train(tmp_path / str(number), log_interval=3, fused=fused)
        found.append((regression.contents(tmp_path / str(number)), reports(caplog)))
    assert found[0] == found[1] == found[2] and len(found[0][1]) == 3 * 3


@pytest.mark.parametrize("fused", [True, False])
def test_a_bad_loss_that_is_read_late_is_named_as_if_it_had_been_read_at_once(
    tmp_path, monkeypatch, fused
):
    def spoil(epoch, i, batch):
        if (epoch, i) == (3, 1):
            batch["x"][1] = float("nan")

    messages = []
    for number in (1, LATE):
        monkeypatch.setattr(ledger, "read_every", lambda device, number=number: number)
        with pytest.raises(TrainingStopped):
            train(tmp_path, spoil, fused=fused)
        messages.append((tmp_path / STOPPED).read_text())
    assert messages[0] == messages[1]
    assert "epoch 3, batch 2 of the epoch, batch 14 of the run (update 7)" in messages[0]
    assert "utt-3-1-0 utt-3-1-1 utt-3-1-2" in messages[0]


def test_no_checkpoint_is_made_of_what_has_not_been_read(tmp_path, monkeypatch):
    """One is due behind each update; the bad loss stops the training before the next is made."""
    monkeypatch.setattr(ledger, "read_every", lambda device: 100)

    def spoil(epoch, i, batch):
        if (epoch, i) == (2, 2):
            batch["x"][1] = float("nan")

    with pytest.raises(TrainingStopped):
        train(tmp_path, spoil, checkpoint_minutes=1e-9, fused=True)
    position = load_weights_only(tmp_path / CHECKPOINT)[INSIDE]
    assert (position["epoch"], position["batches"]) == (2, 2)


def test_a_validation_is_read_in_portions(tmp_path, monkeypatch):
    """So that a signal to another worker is heard within it."""
    monkeypatch.setattr(ledger, "read_every", lambda device: 2)
    read, fetch = [], ledger.fetch

    def noted(holders):
        holders = list(holders)
        read.append(sum("ids" in holder for holder in holders))
        fetch(holders)

    monkeypatch.setattr(ledger, "fetch", noted)
    on_validation = lambda epoch, i, batch: read.append(f"batch {i}")  # noqa: E731
    train(tmp_path, max_epoch=1, on_validation=on_validation)
    begun = read.index("batch 0")
    assert [x for x in read[begun:] if x] == [
        *("batch 0", "batch 1", 2, "batch 2", "batch 3", 2, "batch 4", "batch 5", 2)
    ]


def test_gradients_that_are_read_late_stop_after_some_updates(tmp_path, late):
    def spoil(epoch, i, batch):
        if epoch == 2:
            batch["x"] = batch["x"] * 1e18

    with pytest.raises(TrainingStopped, match="gradient norm was not finite in 3 updates"):
        train(tmp_path, spoil, fused=True)


def test_which_optimisers_leave_out_a_step_by_themselves():
    weights = [torch.nn.Parameter(torch.ones(2))]
    assert skips_on_device(torch.optim.Adam(weights, fused=True))
    assert skips_on_device(torch.optim.AdamW(weights, fused=True))
    assert not skips_on_device(torch.optim.AdamW(weights))
    assert not skips_on_device(torch.optim.SGD(weights, fused=True))


@pytest.mark.parametrize("ngpu", [0, 1])
def test_adam_is_fused_on_gpus(ngpu):
    conf = {"lr": 0.1}
    args = argparse.Namespace(
        **{"ngpu": ngpu, "optim": "adamw", "optim_conf": conf, "scheduler": None},
        **{"accum_grad": 1, "sharded_ddp": False, "exclude_weight_decay": False},
    )
    [optimizer] = common.TrainingTask.build_optimizers(args, torch.nn.Linear(2, 2))
    assert optimizer.param_groups[0]["fused"] == (True if ngpu else None)
    assert args.optim_conf == {"lr": 0.1}
    args.optim_conf = {"fused": False}
    [optimizer] = common.TrainingTask.build_optimizers(args, torch.nn.Linear(2, 2))
    assert optimizer.param_groups[0]["fused"] is False


@pytest.mark.parametrize("fused", [True, False])
def test_a_state_goes_where_its_steps_are_computed(fused, caplog):
    """The step count of a fused Adam is on its device, that of another one on the host."""
    model = torch.nn.Linear(2, 2)
    before = torch.optim.AdamW(model.parameters(), fused=not fused or None)
    model(torch.ones(2)).sum().backward()
    before.step()
    moved = torch.nn.Linear(2, 2, device="meta")
    after = torch.optim.AdamW(moved.parameters(), fused=fused or None)
    restore_optimizer(after, None, before.state_dict(), None)
    states = list(after.state.values())
    assert [state["step"].device.type for state in states] == ["meta" if fused else "cpu"] * 2
    assert all(state["exp_avg"].device.type == "meta" for state in states)
    assert not caplog.messages


@pytest.mark.parametrize("name", ["grad_noise", "no_forward_run", "create_graph_in_tensorboard"])
def test_options_of_espnet_s_own_loop_are_refused(tmp_path, name):
    values = {**vars(regression.options(tmp_path)), name: True}
    with pytest.raises(ValueError, match=f"{name}: options of ESPnet's own training loop"):
        SpeechLMTrainer.build_options(argparse.Namespace(**values))


@pytest.fixture
def tell_all(monkeypatch):
    """`tell` as rank 0 hears it, of the arguments of all ranks."""

    def call(arguments):
        rows: list = []

        def gather(out, own):
            rows.append(own)
            for place, row in zip(out, rows, strict=False):  # at the last call all are there
                place.copy_(row)

        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: len(arguments))
        monkeypatch.setattr(torch.distributed, "all_gather", gather)
        return [exchange.tell(*own) for own in arguments][-1]

    return call


@pytest.mark.parametrize("missing", [(), (1,), (0, 1, 2)])
def test_workers_report_what_espnet_reports(monkeypatch, tell_all, missing):
    """Three workers; some have no value of a statistic."""
    losses = [torch.tensor([x]) for x in (0.3, -1.7, 2.9)]
    weights = [torch.tensor([n]) for n in (3, 50, 7)]
    stats = [{"a": x * 2, "b": x.square()} for x in losses]
    for rank in missing:
        stats[rank]["b"] = torch.tensor([math.nan])
    told = tell_all(list(zip(losses, stats, weights, (0, 2, 1), strict=True)))
    assert (told.wish, told.weight, told.finite) == (2, 60, True)

    products = ([s[key] * n for s, n in zip(stats, weights, strict=True)] for key in "ab")

    def gather(out, _own):
        for place, value in zip(out, next(products), strict=True):
            place.copy_(value.sum())

    monkeypatch.setattr(torch.distributed, "all_gather", gather)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda n, op: n.fill_(60))
    expected, _ = recursive_average(stats[0], weights[0], distributed=True)
    for key, value in expected.items():
        torch.testing.assert_close(told.stats[key], value, equal_nan=True)


@pytest.mark.parametrize("value", [1.0, math.inf, math.nan])
def test_a_loss_that_is_not_finite_at_one_worker_is_not_at_any(tell_all, value):
    rows = [(torch.tensor([x]), {}, torch.ones(1), 0) for x in (value, 1.0)]
    assert bool(tell_all(rows).finite) == math.isfinite(value)


@pytest.mark.parametrize(
    ("dtype", "device", "use_amp"),
    [(None, "cpu", True), (None, "cuda", False), (torch.bfloat16, "cuda", True)],
)
def test_the_low_precision_is_bfloat16_where_the_gpu_has_it(monkeypatch, dtype, device, use_amp):
    emulated = {"including_emulation": False}  # what is emulated is slower than single precision
    for has, expected in ((True, dtype), (False, dtype and torch.float16)):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda has=has, **k: k == emulated and has
        )
        assert loop.low_precision(use_amp, torch.device(device)) == expected
