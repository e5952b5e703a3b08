"""Layers of fused kernels: shapes everywhere, numbers where Triton's interpreter is."""

import os
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec

import pytest
import torch

from speechlm import kernels
from speechlm.kernels.fused_pass import fused_type
from speechlm.models import SpeechLMConfig
from speechlm.models.fast_transformer import FastSharedEncoder
from speechlm.models.transformer import SharedEncoder

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed: it comes with torch for GPUs"
)
SIZES = {"base": {"pre_norm": False}, "large": {"pre_norm": True}, "fast": {}}


@pytest.fixture
def meta(monkeypatch):
    """Autocast, which the meta device lacks, is off there."""
    enabled, autocast = torch.is_autocast_enabled, torch.autocast

    def switch(device, **options):
        return nullcontext() if device == "meta" else autocast(device, **options)

    monkeypatch.setattr(torch, "is_autocast_enabled", lambda d: d != "meta" and enabled(d))
    monkeypatch.setattr(torch, "autocast", switch)


def encoder(size, device="meta"):
    """A shared encoder of two layers."""
    name = "fast_tiny" if size == "fast" else "tiny"
    config = getattr(SpeechLMConfig, name)(shared_layers=2, shared_layerdrop=0.0, **SIZES[size])
    embed = torch.nn.Embedding(20, config.embed_dim)
    made = (FastSharedEncoder if size == "fast" else SharedEncoder)(config, embed)
    return made.to(device).train()


def operations(output):
    """Names of what the backward pass consists of."""
    names, found = set(), [output.grad_fn]
    while found:
        node = found.pop()
        if node.name() not in names or "Backward" not in node.name():
            found += [following for following, _ in node.next_functions if following]
        names.add(node.name())
    return names


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("padded", [False, True])
def test_shapes_and_types_on_the_meta_device(meta, size, padded):
    model = encoder(size)
    x = torch.empty(2, 9, model.config.embed_dim, device="meta", requires_grad=True)
    padding = torch.empty(2, 9, dtype=torch.bool, device="meta") if padded else None
    with kernels.triton():
        output = model(x, padding)
        (output.last.sum() + output.layers[0].sum()).backward()
    assert [y.shape for y in output.layers] == [x.shape] * 2
    used = {n for n, p in model.named_parameters() if p.grad is not None}
    unused = {"embed_tokens.weight"}
    if size == "base":  # kept for the authors' names alone
        unused |= {n for n, _ in model.named_parameters() if "norm_k" in n}
    assert used == {n for n, _ in model.named_parameters()} - unused
    for parameter in model.parameters():
        assert parameter.grad is None or parameter.grad.shape == parameter.shape


@pytest.mark.parametrize("size", SIZES)
def test_they_are_taken_where_they_are_asked_for(meta, size):
    model = encoder(size)
    x = torch.empty(2, 9, model.config.embed_dim, device="meta")

    def is_taken():
        return "_AddNormBackward" in operations(model(x, None).layers[-1])

    assert not is_taken()
    with kernels.triton():
        assert is_taken()
        with kernels.plain("fused_layers"):
            assert not is_taken()


def test_types_and_heads_that_do_not_fit(meta):
    x = torch.empty(2, 9, 64, device="meta")
    with kernels.triton():
        assert fused_type(x, 64) == torch.float32 and fused_type(x.bfloat16(), 128)
        assert fused_type(x.half(), 64) is fused_type(x.double(), 64) is fused_type(x, 129) is None
        assert fused_type(x.new_empty(1, device="cpu"), 64) is None or interpreted()


def interpreted():
    return os.environ.get("TRITON_INTERPRET") == "1"


class Encoder(torch.nn.Module):
    """An encoder as torch exports it."""

    def __init__(self):
        super().__init__()
        self.encoder = encoder("base", "cpu").eval()

    def forward(self, x):
        """Without padding."""
        return self.encoder(x, None).last


def test_graphs_for_other_programs_have_no_operation_of_ours():
    module = Encoder()
    x = torch.randn(1, 9, module.encoder.config.embed_dim)
    with kernels.triton():
        graph = torch.export.export(module, (x,)).graph
    targets = [str(node.target) for node in graph.nodes]
    assert any("attention" in target for target in targets)
    assert not any("speechlm" in target for target in targets)


@pytest.mark.skipif(find_spec("triton") is not None, reason="triton is installed")
@pytest.mark.parametrize("size", SIZES)
def test_what_is_said_where_triton_is_missing(monkeypatch, size):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    model = encoder(size, "cpu")
    x = torch.zeros(2, 9, model.config.embed_dim)
    with kernels.triton(), pytest.raises(ValueError, match="triton is not installed here; install"):
        model(x, None)


@needs_triton
@pytest.mark.parametrize("name", ["interpreted_attention", "interpreted_layers"])
def test_numbers_in_tritons_interpreter(root, name):
    """What that file tests, in a process with TRITON_INTERPRET=1 from its start."""
    folder = root / "test" / "kernels"
    options = ["-q", "-x", "--noconftest", "-p", "no:cacheprovider"]
    paths = os.pathsep.join([str(root), str(folder), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, folder / f"{name}.py"],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths},
        cwd=root,
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]
