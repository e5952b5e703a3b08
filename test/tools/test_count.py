"""The counter of what a GPU would do: operations whose numbers are known, bounds of a step."""

import argparse
import importlib
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

META = "meta"
PAPER_BATCH = {"batch": 8, "seconds": 10.94, "text_units": 547}


@pytest.fixture(scope="module")
def count(root):
    """The modules of the counter."""
    sys.path.insert(0, str(root / "tools"))
    try:
        names = ("count", "pretended_gpu", "trace")
        yield SimpleNamespace(**{n: importlib.import_module(f"benchmarks.{n}") for n in names})
    finally:
        sys.path.remove(str(root / "tools"))


def step(count, model, features=False, dtype="bfloat16", triton=False, **batch):
    options = {"features": features, "dtype": dtype, "triton": triton, "seed": 0}
    args = argparse.Namespace(**{**PAPER_BATCH, **batch}, **options)
    return count.count.traced(model, args)


def test_numbers_of_a_product_and_a_sum(count):
    a, b = torch.empty(4, 8, device=META), torch.empty(8, 16, device=META)
    trace = count.trace.Trace(lambda modules: "all")
    with trace:
        c = a @ b
        c = c + c[:1].expand(4, 16)
        c.view(64).zero_()
    assert [(call.name, call.read, call.written, call.flop) for call in trace.calls] == [
        ("mm", 4 * (32 + 128), 4 * 64, 2 * 4 * 8 * 16),
        ("add", 4 * (64 + 16), 4 * 64, 0),
        ("zero_", 0, 4 * 64, 0),
    ]
    assert trace.waits == 0 and {call.part for call in trace.calls} == {"all"}


@pytest.mark.parametrize("groups", [1, 4])
def test_operations_of_convolutions_backwards(count, groups):
    x = torch.empty(2, 8, 12, device=META, requires_grad=True)
    weight = torch.empty(16, 8 // groups, 3, device=META, requires_grad=True)
    trace = count.trace.Trace(lambda modules: "")
    with trace:
        y = F.conv1d(x, weight, groups=groups)
        y.backward(torch.empty_like(y))
    forward, backward = (call.flop for call in trace.calls if call.kind == "convolutions")
    assert forward == 2 * 16 * (8 // groups) * 3 * 2 * 10 and backward == 2 * forward


def test_many_tensors_by_one_kernel(count):
    wide = [torch.empty(n, device=META) for n in (3, 5)]
    trace = count.trace.Trace(lambda modules: "")
    with trace:
        torch._foreach_copy_([x.bfloat16() for x in wide], wide)
    last = trace.calls[-1]
    assert (last.kernels, last.read, last.written) == (1, 4 * 8, 2 * 8)


def test_dropout_is_one_kernel(count):
    x = torch.empty(4, 6, device=META, requires_grad=True)
    trace = count.trace.Trace(lambda modules: "")
    with count.pretended_gpu.pretended_gpu(None), trace:
        y = F.dropout(x, 0.1)
        count.count.run_backward(y.square().sum())
        assert F.dropout(x, 0.1, training=False) is x
    calls = [call for call in trace.calls if "dropout" in call.name]
    assert [(call.read, call.written) for call in calls] == [(96, 96 + 24), (96 + 24, 96)]


def test_memory_is_given_back(count):
    trace = count.trace.Trace(lambda modules: "")
    before = torch.empty(1000, device=META)
    with trace:
        trace.known([before])
        one = before + 1
        del one
        for _ in range(3):
            two = before.double()
        del two
    assert trace.peak_bytes == 16000 and trace.bytes_now == 0


def test_waits_for_numbers(count):
    trace = count.trace.Trace(lambda modules: "")
    with trace:
        mask = torch.empty(4, 10, device=META) > 0
        assert mask.flatten().nonzero().shape == (20, 1)
        assert mask.sum().item() == 1
    assert trace.waits == 2


def test_types_are_those_of_autocast(count):
    layer = torch.nn.Linear(8, 8, device=META)
    x = torch.empty(2, 8, device=META)
    trace = count.trace.Trace(lambda modules: "")
    with count.pretended_gpu.pretended_gpu(torch.bfloat16), trace:
        assert torch.is_autocast_enabled(META)
        y = layer(layer(x))
        assert y.dtype == torch.bfloat16 and F.layer_norm(y, (8,)).dtype == torch.float32
        assert torch.cat([x, y]).dtype == torch.float32 and F.gelu(y).dtype == torch.bfloat16
        with torch.autocast(META, enabled=False):
            assert layer(x).dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")
    # Weight and bias are cast once for both calls.
    assert [call.name for call in trace.calls].count("_to_copy") == 2 + 1 + 1 + 1


@pytest.mark.parametrize("aligned", [True, False])
def test_a_bias_that_the_kernel_cannot_read_is_copied(count, aligned):
    query = torch.empty(2, 4, 16, 8, device=META)
    bias = torch.empty(2, 4, 16, 16 if aligned else 15, device=META)[..., :16]
    key = query if aligned else query[:, :, :15]
    trace = count.trace.Trace(lambda modules: "")
    with count.pretended_gpu.pretended_gpu(None), trace:
        F.scaled_dot_product_attention(query, key, key, bias)
    copies = [call for call in trace.calls if call.name != trace.calls[-1].name]
    assert trace.calls[-1].kind == "attention kernel" and bool(copies) != aligned


def test_an_estimate_is_the_roofline(count):
    call = count.trace.Call("", "mm", 1, 1e9, 1e9, 0.0)
    launch = count.count.LAUNCH_US / 1e3
    by_bytes = 2e9 / (count.count.BANDWIDTH_SHARE * 1e12) * 1e3
    assert count.count.milliseconds([call] * 2, 100.0, 1.0) == pytest.approx(
        2 * (by_bytes + launch)
    )
    heavy = count.trace.Call("", "mm", 1, 1e9, 1e9, 1e13)
    by_products = 1e13 / (count.count.PEAK_SHARE["products"] * 100e12) * 1e3
    assert count.count.milliseconds([heavy], 100.0, 1.0) == pytest.approx(by_products + launch)


# Bounds of a training step with the paper's batch: kernels, GB, TFLOP, waits, GiB at the peak.
# They are what was reached, rounded up: a change that goes beyond them has made a step dearer.
BOUNDS = {
    "base": (1520, 44.0, 5.45, 0, 5.0),
    "base --triton": (985, 27.2, 5.6, 0, 3.7),
    "large": (2590, 126.0, 15.2, 0, 13.5),
    "large --triton": (1765, 67.0, 15.5, 0, 9.0),
    "fast_base": (1360, 15.4, 1.9, 0, 1.7),
    "fast_base --triton": (1035, 12.1, 1.9, 0, 1.6),
}


@pytest.mark.parametrize("model", BOUNDS)
def test_a_step_takes_no_more_than_was_reached(count, model):
    name, *triton = model.split()
    trace = step(count, name, triton=bool(triton))
    kernels, moved, flop, waits, peak = BOUNDS[model]
    assert sum(call.kernels for call in trace.calls) <= kernels
    assert sum(call.read + call.written for call in trace.calls) / 1e9 <= moved
    assert 0.9 * flop <= sum(call.flop for call in trace.calls) / 1e12 <= flop
    assert trace.waits <= waits
    assert trace.peak_bytes / 2**30 <= peak


def test_operations_are_those_of_their_part_also_backwards(count):
    """Six layers of 546 frames in each encoder, and of 547 units in the shared one: 8 rows each."""
    calls = [call for call in step(count, "base").calls if call.part == "Transformer layers"]
    rows, width = 8 * (12 * 546 + 6 * 547), 768
    # Four square products and two of four times the size, and with the 320 relative positions
    products = rows * 2 * (12 * width * width + width * 320)
    own = sum(call.flop for call in calls if call.kind == "products")
    assert own == pytest.approx(3 * products, rel=0.01)


def test_fused_layers_have_the_same_products(count):
    """Also those that are added to what is there; scores are inside the attention kernel."""
    plain, fused = (
        sum(call.flop for call in step(count, "base", triton=on).calls if call.kind == "products")
        for on in (False, True)
    )
    assert fused == pytest.approx(plain, rel=1e-6)


def test_what_our_operations_write_into_is_not_read(count):
    from speechlm.kernels import gpu_attention

    qkv = torch.empty(2, 5, 3, 4, 8, device=META)
    relative = torch.empty(4, 2, 5, 6, device=META)
    out, log_sum = gpu_attention.relative_attention(qkv, relative, None, None, 0.0)
    trace = count.trace.Trace(lambda modules: "")
    with trace:
        places = torch.empty_like(qkv)
        gpu_attention._keys(qkv, relative, None, None, 0.0, log_sum, log_sum, out, places[:, :, 1:])
    (call,) = trace.calls
    read = qkv.numel() + relative.numel() + 2 * log_sum.numel() + out.numel()
    assert (call.read, call.written) == (4 * read, 4 * 2 * qkv.numel() // 3)


def test_features_wait_once(count):
    """For the check that samples are finite; nothing else, for any number of frames."""
    for seconds in (10.0, 10.02):
        assert step(count, "base", features=True, seconds=seconds).waits == 1
