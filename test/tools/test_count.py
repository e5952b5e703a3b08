"""The counter of what a GPU would do: operations whose numbers are known, bounds of a step."""

import argparse
import importlib
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import yaml

META = "meta"
PAPER_BATCH = {"batch": 8, "seconds": 10.94, "text_units": 547, "text_batch": None}


@pytest.fixture(scope="module")
def count(root):
    """The modules of the counter."""
    sys.path.insert(0, str(root / "tools"))
    try:
        names = ("count", "pretended_gpu", "trace", "update")
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


def test_a_list_is_cut_where_a_kernel_has_no_room(count):
    def launches(*numbers, depth=2):
        return count.trace.launches([torch.empty(n, device=META) for n in numbers], depth)

    chunk = count.trace.CHUNK
    assert launches() == 0 and launches(5) == 1
    assert launches(*[1] * 64) == 1 and launches(*[1] * 65) == 2
    assert launches(*[1] * 36, depth=4) == 1 and launches(*[1] * 37, depth=4) == 2
    assert launches(320 * chunk) == 1 and launches(320 * chunk + 1) == 2
    # The rest of the long one has a kernel's first place, and 63 others have room beside it.
    assert launches(320 * chunk + 1, *[1] * 63) == 2 and launches(320 * chunk + 1, *[1] * 64) == 3


def test_lists_that_are_read_and_written(count):
    ones, twos = ([torch.empty(n, device=META) for n in (3, 5)] for _ in range(2))
    trace = count.trace.Trace(lambda modules: "")
    with trace:
        torch._foreach_add_(ones, twos)
        torch._foreach_mul(ones, 2.0)
        torch._foreach_norm(ones)
    assert [(call.kernels, call.read, call.written) for call in trace.calls] == [
        (1, 2 * 32, 32),
        (1, 32, 32),
        (2, 32, 8),
    ]


def test_clipping_and_adam(count):
    """Fused: gradients are read for their norm and scaled, then four lists read, three written."""
    # Lists: norm 1, scaled 2, decayed 2, moments 3 + 2 + 4, root 2, divided 2, epsilon 2, step 4
    sizes = {"foreach": 1 + 2 + 2 + 3 + 2 + 4 + 2 + 2 + 2 + 4, "fused": 1 + 2 + 4 + 3}
    for variant, passes in sizes.items():
        weights = [torch.empty(n, device=META, requires_grad=True) for n in (30000, 50000)]
        trace = count.update.traced_update(weights, variant)
        moved = sum(call.read + call.written for call in trace.calls)
        assert moved == pytest.approx(4 * 80000 * passes, rel=1e-3) and trace.waits == 0
        assert all(variant in call.part for call in trace.calls)


def test_dropout_is_one_kernel(count):
    x = torch.empty(4, 6, device=META, requires_grad=True)
    trace = count.trace.Trace(lambda modules: "")
    with count.pretended_gpu.pretended_gpu(None), trace:
        y = F.dropout(x, 0.1)
        y.square().sum().backward()
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


HOST = torch.ones(3)
WAITS = {
    "a condition": lambda x: bool(x.sum() > 0),
    "numbers": lambda x: x.tolist(),
    "a copy to the host": lambda x: x.cpu(),
    "a copy into a tensor of the host": lambda x: torch.ones(3).copy_(x),
    "a copy to the GPU": lambda x: HOST.to(META),
    "a copy into a tensor of the GPU": lambda x: x.copy_(HOST),
    "a number of the host": lambda x: torch.tensor(1.0, device=META),
    "a number of the host like x": lambda x: x.new_tensor(1.0),
    "a list of the host": lambda x: torch.as_tensor([1, 2], device=META),
    "places that the host has": lambda x: x[torch.tensor([0, 2])],
    "a mask": lambda x: (x > 0).nonzero(),
}
NO_WAITS = {
    "a copy that is not waited for": lambda x: HOST.to(META, non_blocking=True),
    "the same into a tensor": lambda x: x.copy_(HOST, non_blocking=True),
    "a number that a kernel writes": lambda x: torch.full((), 1.0, device=META),
    "the same like x": lambda x: x.new_full((), 1.0),
    "a cast": lambda x: x.double(),
    "places that the GPU has": lambda x: x[torch.zeros(2, dtype=torch.int64, device=META)],
    "what is on the host": lambda x: HOST.sum().item(),
}


@pytest.mark.parametrize("what", [*WAITS, *NO_WAITS])
def test_every_kind_of_wait_is_seen(count, what):
    x, trace = torch.empty(3, device=META), count.trace.Trace(lambda modules: "")
    with count.pretended_gpu.pretended_gpu(None) as gpu, trace:
        {**WAITS, **NO_WAITS}[what](x)
    assert trace.waits + gpu.waits == (what in WAITS)


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
    "base": (1390, 43.1, 5.45, 0, 5.0),
    "base --triton": (799, 24.5, 5.6, 0, 3.4),
    "large": (2445, 125.2, 15.2, 0, 13.4),
    "large --triton": (1620, 66.0, 15.5, 0, 8.9),
    "fast_base": (1297, 15.0, 1.9, 0, 1.6),
    "fast_base --triton": (976, 11.7, 1.9, 0, 1.5),
}
# Of parts alone: kernels, GB
PART_BOUNDS = {
    "base": {"front end": (101, 6.1), "CTC head": (19, 0.2)},
    "base --triton": {"front end": (44, 4.4), "masks, embeddings, losses": (176, 1.86)},
    "large": {"front end": (93, 8.8), "CTC head": (20, 0.31)},
    "fast_base": {"front end": (81, 0.63)},
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
    for part, (most, moved) in PART_BOUNDS.get(model, {}).items():
        calls = [call for call in trace.calls if call.part == part]
        assert 0 < sum(call.kernels for call in calls) <= most
        assert sum(call.read + call.written for call in calls) / 1e9 <= moved


def test_what_follows_a_step_takes_no_more_than_was_reached(count, capsys):
    figures = count.count.count_update("base", 989.0, 3.35)
    assert figures["base_foreach_update_kernels"] <= 67
    assert figures["base_fused_update_kernels"] <= 29
    assert figures["base_fused_update_gigabytes"] <= 4.0
    assert "after a step, either" in capsys.readouterr().out


# Utterances as long as crops are, and one or two lines of text that fill a batch.
DEAREST = {
    "base": {"batch": 5, "seconds": 15.6, "text_batch": 2, "text_units": 2187},
    "large": {"batch": 3, "seconds": 15.6, "text_batch": 1, "text_units": 2812},
}


@pytest.mark.parametrize("model", ["base", "large", "fast_base", "fast_large"])
def test_a_configuration_estimates_the_memory_that_is_counted(count, root, model):
    """Of which the number of batches at once follows (`speechlm.tasks.update_size`)."""
    conf = yaml.safe_load((root / f"egs/TEMPLATE/conf/pretrain_{model}.yaml").read_text())
    assert conf["state_gib"] == pytest.approx(count.count.state_gib(model), rel=0.05)
    batch = DEAREST[model.removeprefix("fast_")]
    assert batch["batch"] * 250_000 <= conf["batch_samples"]
    peak = step(count, model, **batch).peak_bytes / 2**30
    assert peak <= conf["batch_gib"] <= 1.5 * peak  # more than needed would be wasted


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

    def products(triton: bool) -> float:
        calls = step(count, "base", triton=triton).calls
        return sum(
            call.flop
            for call in calls
            if (call.part, call.kind) == ("Transformer layers", "products")
        )

    plain, fused = products(False), products(True)
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
