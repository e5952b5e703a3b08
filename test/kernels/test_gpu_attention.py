"""Relative attention in Triton: shapes everywhere, numbers where Triton's interpreter is."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from speechlm import kernels
from speechlm.kernels.gpu_attention import gpu_relative_attention, takes
from speechlm.models.relative_attention import relative_attention

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed: it comes with torch for GPUs"
)


def on_meta(dtype=torch.bfloat16, width=96):
    """q, k, v (2, 3, 9, d) and a table (8, d)."""
    q, k, v = (torch.empty(2, 3, 9, width, dtype=dtype, device="meta") for _ in range(3))
    return [q, k, v, torch.empty(8, width, device="meta")]


@pytest.mark.parametrize("padded, dropout", [(False, 0.0), (True, 0.1)])
def test_shapes_and_types_on_the_meta_device(padded, dropout):
    inputs = [x.requires_grad_() for x in on_meta()]
    padding = torch.empty(2, 9, dtype=torch.bool, device="meta") if padded else None
    out = gpu_relative_attention(*inputs, padding, dropout)
    assert (out.shape, out.dtype) == (inputs[0].shape, torch.bfloat16)
    assert out.transpose(1, 2).is_contiguous()  # as the output projection wants it
    gradients = torch.autograd.grad(out.sum(), inputs)
    assert [(x.shape, x.dtype) for x in gradients] == [(x.shape, x.dtype) for x in inputs]


def is_taken(inputs):
    out = relative_attention(*(x.requires_grad_() for x in inputs), None, 0.0)
    names, found = set(), [out.grad_fn]
    while found:
        node = found.pop()
        names.add(node.name())
        found += [following for following, _ in node.next_functions if following]
    return any("speechlm" in name for name in names)


def test_it_is_taken_where_it_is_asked_for():
    assert not is_taken(on_meta())
    with kernels.triton():
        assert is_taken(on_meta()) and is_taken(on_meta(torch.float32, 64))
        assert not is_taken(on_meta(torch.float64)) and not is_taken(on_meta(width=160))
        with kernels.plain("attention"):
            assert not is_taken(on_meta())
        assert not takes(on_meta(torch.float16)[0])


class Attention(torch.nn.Module):
    """relative_attention as a module, which is what torch exports."""

    def forward(self, query, key, value, table):
        """Without padding and dropout."""
        return relative_attention(query, key, value, table, None, 0.0)


def test_graphs_for_other_programs_have_no_operation_of_ours():
    with kernels.triton():
        graph = torch.export.export(Attention(), tuple(on_meta()), strict=False).graph
    targets = [str(node.target) for node in graph.nodes]
    assert any("attention" in target for target in targets)
    assert not any("speechlm" in target for target in targets)


@pytest.mark.skipif(find_spec("triton") is not None, reason="triton is installed")
def test_what_is_said_where_triton_is_missing():
    with pytest.raises(ValueError, match="the package triton is not installed here; install it"):
        gpu_relative_attention(*(torch.zeros_like(x, device="cpu") for x in on_meta()), None, 0.0)


@needs_triton
def test_numbers_in_tritons_interpreter(root):
    """What interpreted_attention.py tests, in a process with TRITON_INTERPRET=1 from its start."""
    tests = root / "test" / "kernels" / "interpreted_attention.py"
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "--noconftest",
            "-p",
            "no:cacheprovider",
            tests,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=root,
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]
