"""The front end's first block in Triton: shapes everywhere, numbers where its interpreter is."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from speechlm import kernels
from speechlm.kernels import channels_last, gpu_first_block

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed: it comes with torch for GPUs"
)


def layers(kernel=10, device="meta"):
    """A front end of two convolutions."""
    shapes = [(1, 16, kernel, 5), (16, 8, 3, 2)]
    convolutions = [nn.Conv1d(*shape, bias=False, device=device) for shape in shapes]
    return convolutions, nn.GroupNorm(16, 16, device=device)


@pytest.mark.parametrize("dtype", gpu_first_block.TYPES)
@pytest.mark.parametrize("counted", [True, False])
def test_shapes_and_types_on_the_meta_device(dtype, counted):
    (convolution, _), norm = layers()
    waveforms = torch.empty(2, 1000, device="meta")
    lengths = torch.empty(2, dtype=torch.long, device="meta") if counted else None
    out = gpu_first_block.first_block(waveforms, lengths, convolution, norm, dtype)
    assert (out.shape, out.dtype) == ((2, 199, 16), dtype) and out.is_contiguous()
    weights = [convolution.weight, norm.weight, norm.bias]
    gradients = torch.autograd.grad(out.sum(), weights)
    assert [(x.shape, x.dtype) for x in gradients] == [(x.shape, x.dtype) for x in weights]


def test_it_is_taken_where_it_is_asked_for(monkeypatch):
    """On a CPU, as if Triton's interpreter were there."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    taken = []

    def spy(waveforms, lengths, convolution, norm, dtype):
        taken.append(dtype)
        return torch.zeros(2, 199, 16, dtype=dtype)

    monkeypatch.setattr(channels_last, "first_block", spy)

    def is_taken(dtype=torch.float32, kernel=10, group=True):
        convolutions, norm = layers(kernel, "cpu")
        convolutions = [convolution.to(dtype) for convolution in convolutions]
        norm = norm.to(dtype) if group else None
        waveforms = torch.randn(2, 1000, dtype=dtype)
        channels_last.channels_last_stack(waveforms, None, convolutions, norm, [])
        return bool(taken) and taken.pop() == dtype

    assert not is_taken()
    with kernels.triton():
        assert is_taken() and is_taken(kernel=15)
        assert not is_taken(kernel=16) and not is_taken(torch.float64)
        assert not is_taken(group=False)
        with kernels.plain("first_block"):
            assert not is_taken()


@pytest.mark.skipif(find_spec("triton") is not None, reason="triton is installed")
def test_what_is_said_where_triton_is_missing():
    convolution, norm = nn.Conv1d(1, 4, 10, 5, bias=False), nn.GroupNorm(4, 4)
    with pytest.raises(ValueError, match="the package triton is not installed here; install it"):
        gpu_first_block.first_block(torch.zeros(1, 99), None, convolution, norm, torch.float32)


@needs_triton
def test_numbers_in_tritons_interpreter(root):
    """What interpreted_first_block.py tests, with TRITON_INTERPRET=1 from its start."""
    tests = root / "test" / "kernels" / "interpreted_first_block.py"
    options = ["-q", "-x", "--noconftest", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tests],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=root,
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]
