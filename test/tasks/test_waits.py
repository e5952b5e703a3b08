"""How often the loop waits for a GPU, counted on one that is pretended."""

import importlib
import sys

import pytest
import torch

from speechlm.models import SpeechLMConfig
from speechlm.tasks import exchange, ledger, loop, updates

SIZES = {"embed_dim": 16, "ffn_dim": 32, "heads": 2, "speech_layers": 1, "shared_layers": 1}


@pytest.fixture(scope="module")
def update(root):
    """The module that runs updates on the pretended GPU."""
    sys.path.insert(0, str(root / "tools"))
    try:
        yield importlib.import_module("benchmarks.waits")
    finally:
        sys.path.remove(str(root / "tools"))


def count(update, **options):
    """Waits of two updates, and of what is behind the last."""
    tensors = [
        torch.zeros(2, 8000),
        torch.tensor([8000, 7000]),
        torch.randint(4, 300, (2, 48)),
        torch.randint(4, 300, (2, 30)),
        torch.randint(4, 30, (2, 6)),
    ]
    config = SpeechLMConfig.fast_tiny(**SIZES)
    return update.waits_of_updates(config, tensors, torch.bfloat16, **options)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_updates_wait_for_nothing_and_reading_once(update, accumulated):
    assert count(update, accumulated=accumulated) == [0, 0, 1]


def test_the_same_with_several_workers(update, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "all_gather", lambda rows, own: None)
    monkeypatch.setattr(exchange, "from_all_workers", lambda items: items * 2)
    assert count(update) == [0, 0, 1]


def test_an_optimiser_that_cannot_leave_out_a_step_costs_one_wait_an_update(update, monkeypatch):
    """All that is to be read comes with it."""
    monkeypatch.setattr(updates, "skips_on_device", lambda optimizer: False)
    assert count(update, accumulated=2) == [1, 1, 0]


def test_the_counter_sees_what_is_read_of_each_batch(update, monkeypatch):
    monkeypatch.setattr(ledger, "READ_EVERY", 1)
    assert count(update) == [1, 1, 0]


def test_tensors_of_a_batch_are_copied_without_waiting(update):
    class Echo(torch.nn.Linear):
        def forward(self, x, utt_id):
            loss = super().forward(x).sum()[None]
            return loss, {"loss": loss, "none": None}, torch.ones_like(loss)

    with update.pretended_gpu(None) as gpu, update.Trace(lambda modules: "") as trace:
        loss, stats, _ = loop.call(Echo(3, 2, device="meta"), ["a"], {"x": torch.ones(4, 3)})
    assert loss.device.type == "meta" and list(stats) == ["loss"]
    assert trace.waits + gpu.waits == 0 and not stats["loss"].requires_grad
