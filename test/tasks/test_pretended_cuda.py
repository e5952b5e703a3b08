"""A whole pre-training with --ngpu 1, on a "cuda" that is the host.

It goes where trainings on a GPU go: what ESPnet and torch ask about GPUs is answered, and tensors
that are to be on one stay where they are. What a GPU would compute in bfloat16 is computed in
float32, so that weights can be compared. Mixtures of devices and waits are seen by `test_waits`.
"""

import os
from types import SimpleNamespace

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.tasks import ledger, loop
from speechlm.tasks.common import TrainingTask
from speechlm.tasks.run_pretrain import pretrain

CUDA = torch.device("cuda")
ANSWERS = {"is_available": True, "device_count": 1, "current_device": 0, "empty_cache": None}


class HostForCuda(TorchFunctionMode):
    """Tensors and modules that are asked to be on "cuda" stay on the host."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.pin_memory:
            return args[0]
        args, kwargs = tree_map(lambda x: "cpu" if is_cuda(x) else x, (args, kwargs or {}))
        return function(*args, **kwargs)


def is_cuda(value) -> bool:
    if isinstance(value, torch.device):
        return value.type == "cuda"
    return isinstance(value, str) and value.split(":")[0] == "cuda"


@pytest.fixture
def train(tmp_path, data_options, config_values):
    """Trains for so many epochs of four updates."""
    shape = {"num_iters_per_epoch": 4, "scheduler_conf": {"warmup_steps": 2, "max_steps": 20}}

    def call(name, ngpu, epochs):
        config = config_values(
            tmp_path, "pretrain", max_epoch=epochs, use_amp=ngpu > 0, log_interval=100, **shape
        )
        return pretrain(tmp_path / name, config, {**data_options, "ngpu": ngpu})

    return call


@pytest.fixture
def asked(monkeypatch):
    """Notes number formats, optimisers, pinned batches, and which readings had to wait."""
    seen: dict[str, list] = {"format": [], "optimizer": [], "pinned": [], "waited": []}
    real, fetch, build = torch.autocast, ledger.fetch, TrainingTask.build_optimizers.__func__

    def autocast(device, dtype=None, enabled=True):
        seen["format"].append((device, dtype, enabled))
        return real("cpu", enabled=False)

    def build_optimizers(cls, args, model):
        seen["optimizer"] += build(cls, args, model)
        return seen["optimizer"][-1:]

    def noted_fetch(holders):
        holders = list(holders)
        seen["waited"].append(any(isinstance(x, torch.Tensor) for d in holders for x in d.values()))
        fetch(holders)

    def pin(data, _device=None):
        seen["pinned"].append(data[0])
        ids, batch = data
        return ids, {name: value.pin_memory() for name, value in batch.items()}

    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(TrainingTask, "build_optimizers", classmethod(build_optimizers))
    monkeypatch.setattr(ledger, "fetch", noted_fetch)
    monkeypatch.setattr(torch.utils.data._utils.pin_memory, "pin_memory", pin)
    return seen


@pytest.mark.skipif(torch.version.cuda is not None, reason="CUDA's own build asks the driver")
def test_a_training_with_a_gpu_goes_through_and_goes_on(train, monkeypatch, request):
    expected = load_weights_only(train("cpu", 0, 2) / "latest.pth")

    for name, answer in ANSWERS.items():
        monkeypatch.setattr(torch.cuda, name, lambda answer=answer: answer)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    memory = SimpleNamespace(total_memory=80 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: memory)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(loop, "device_of", lambda model: CUDA)
    monkeypatch.delenv("NCCL_BLOCKING_WAIT", raising=False)
    scaled = "float16's scaler was used"
    monkeypatch.setattr(torch.amp.GradScaler, "scale", lambda *_: pytest.fail(scaled))
    asked = request.getfixturevalue("asked")
    with HostForCuda():
        for epochs in (1, 2):  # the second time it goes on from the first one's checkpoint
            folder = train("gpu", 1, epochs)

    formats = {chosen for chosen in asked["format"] if chosen[0] == "cuda"}
    assert formats == {("cuda", torch.bfloat16, True)}
    assert all(optimizer.defaults["fused"] for optimizer in asked["optimizer"])
    assert len(asked["pinned"]) >= 2 * 4 and os.environ["NCCL_BLOCKING_WAIT"] == "0"
    # Of the eight updates nothing is read before the end of an epoch, and so of its validations
    assert sum(asked["waited"]) == 2 * 2
    found = load_weights_only(folder / "latest.pth")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3, msg=name)
