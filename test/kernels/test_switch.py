"""The table of kernels, and the switch to their plain twins."""

import importlib
import os
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch

from speechlm import kernels
from speechlm.kernels import KERNELS, fast, plain, products, triton
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.models.text_to_unit import TextToUnit, TextToUnitConfig

USED = {
    "attention": "speechlm.models.relative_attention.blocked_relative_attention",
    "front_end": "speechlm.models.front_end.convolution_stack",
    "position": "speechlm.models.transformer.grouped_convolution",
    "products": "speechlm.kernels.products._onednn",
    "gelu": "speechlm.kernels.products._Linear.apply",
    "dropout": "speechlm.kernels.dropout._SeededDropout.apply",
    "taps": "speechlm.models.fast_transformer.by_taps",
    "channels_last": "speechlm.models.front_end.channels_last_stack",
    "first_block": "speechlm.kernels.channels_last.first_block",
    "losses": "speechlm.models.speechlm.unit_losses",
    "frames": "speechlm.models.swapping.swap_rows",
    "layers": "speechlm.models.transformer.low_layer",
    "fused_layers": "speechlm.models.transformer.fused_layer",
    "tiles": "speechlm.kernels.tiled_convolution.TiledConvolution.forward",
}
"""What runs where a kernel is on."""


def find(name):
    """The object of a dotted name that begins with a module."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"{name} is nowhere")


def test_the_table_is_true(root):
    assert USED.keys() == KERNELS.keys()
    for name, row in KERNELS.items():
        for twin in row.twin.split(" of "):
            find(twin if twin.startswith("torch.") else f"speechlm.{twin}")
        text = (root / "test" / f"{row.test}.py").read_text()
        assert "def test_" in text, name
        assert row.definition and row.gain, name


def run_everything(autocast):
    """Training steps and a generation: every kernel's part of them."""
    torch.manual_seed(0)
    for size in ("tiny", "fast_tiny"):
        config = getattr(SpeechLMConfig, size)(attention_dropout=0.1, label_rate=50)
        model = SpeechLM(config, 20, 12).train()
        labels = torch.randint(4, 19, (1, 30))
        text = torch.randint(4, 19, (1, 30)), torch.randint(4, 12, (1, 5))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(torch.randn(1, 10000), torch.tensor([10000]), labels, *text)[0]
        loss.backward()
    TextToUnit(TextToUnitConfig(embed_dim=8, ffn_dim=8), 46, 9).freeze().generate(
        [torch.tensor([5, 6, 2])]
    )


@pytest.mark.parametrize("name", USED)
def test_a_kernel_runs_unless_it_is_switched_off(monkeypatch, like_a_gpu, name):
    if name == "products" and not products._onednn_types():
        pytest.skip("torch has no oneDNN here")
    if KERNELS[name].asked_for and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("needs triton and its interpreter on a CPU: TRITON_INTERPRET=1")
    owner, _, attribute = USED[name].rpartition(".")
    real, calls = find(USED[name]), []

    def spy(*args):
        if name != "gelu" or args[-1] is True:  # the same function serves the other linear layers
            calls.append(name)
        return real(*args)

    monkeypatch.setattr(find(owner), attribute, spy)
    where = like_a_gpu() if "cuda" in KERNELS[name].devices else nullcontext()
    with where, triton() if KERNELS[name].asked_for else nullcontext():
        with plain(name):
            run_everything(autocast=name == "layers")
        assert not calls
        run_everything(autocast=name == "layers")
        assert calls


def test_plain_ends_with_its_block():
    x = torch.ones(1)
    with pytest.raises(KeyError), plain("dropout"):
        with plain():
            assert not any(fast(name, x) for name in KERNELS)
        assert fast("attention", x) and not fast("dropout", x)
        raise KeyError
    for device in ("cpu", "meta"):
        chosen = {name for name in KERNELS if fast(name, x.to(device))}
        expected = {name for name, row in KERNELS.items() if device in row.devices}
        assert chosen == {name for name in expected if not KERNELS[name].asked_for}
    assert all(("cpu" in row.devices) != ("cuda" in row.devices) for row in KERNELS.values())


def test_triton_is_off_until_it_is_asked_for(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    x = torch.ones(1)
    meta = x.to("meta")
    assert not fast("fused_layers", meta)
    with triton():
        assert fast("fused_layers", meta) and not fast("fused_layers", x)
        with plain("fused_layers"):
            assert not fast("fused_layers", meta)
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        assert fast("fused_layers", x)
    assert not fast("fused_layers", meta)


@pytest.mark.parametrize("value, on", [("", False), ("0", False), ("1", True)])
def test_the_environment_asks_for_triton(value, on):
    code = "import torch; from speechlm.kernels import fast; "
    code += "print(fast('fused_layers', torch.ones(1, device='meta')))"
    assert run(code, value, kernels.TRITON_VARIABLE).stdout.split() == [str(on)]


def test_what_asks_neither_for_triton_nor_against_it():
    ended = run("import speechlm.kernels", "yes", kernels.TRITON_VARIABLE)
    assert ended.returncode and "SPEECHLM_TRITON: 1 takes the kernels" in ended.stderr


@pytest.mark.parametrize(
    "value, off",
    [("", set()), ("all", set(KERNELS)), ("dropout, position", {"dropout", "position"})],
)
def test_the_environment_switches_a_process(value, off):
    code = "from speechlm import kernels as k; print(*[n for n in k.KERNELS if n in k._plain])"
    assert set(run(code, value).stdout.split()) == off


def test_names_that_are_no_kernel():
    with pytest.raises(ValueError, match=r"no kernel is called atention; there are attention, "):
        plain("atention").__enter__()
    ended = run("import speechlm.kernels", "al")
    assert ended.returncode and "SPEECHLM_PLAIN: no kernel is called al" in ended.stderr


def run(code, value, variable=kernels.VARIABLE):
    """A process whose environment has SPEECHLM_PLAIN, or another variable."""
    environment = {**os.environ, variable: value}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
