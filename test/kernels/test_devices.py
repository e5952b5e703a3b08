"""What is said where torch finds fewer GPUs than are asked for."""

import pytest
import torch

from speechlm.kernels.devices import check_gpus


@pytest.mark.parametrize(
    ("found", "cuda", "wanted", "message"),
    [
        (0, None, 1, "--ngpu 1: torch finds no GPU here; .* build for CPUs; TORCH=cuda"),
        (0, "13.0", 8, "--ngpu 8: torch finds no GPU here; give --ngpu 0, or see with nvidia-smi"),
        (1, "13.0", 8, "torch finds 1 GPU here; give --ngpu 1,"),
        (4, "13.0", 8, "torch finds 4 GPUs here; give --ngpu 4,"),
    ],
)
def test_too_few(monkeypatch, found, cuda, wanted, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(ValueError, match=message):
        check_gpus(wanted)


@pytest.mark.parametrize(("found", "wanted"), [(0, 0), (8, 1), (8, 8)])
def test_enough(monkeypatch, found, wanted):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    check_gpus(wanted)
