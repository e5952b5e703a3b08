"""What a training step asks of a GPU, counted without one."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import nullcontext

import torch

from benchmarks.measure import N_CHARACTERS, N_UNITS
from benchmarks.operations import units_of
from benchmarks.pretended_gpu import META, pretended_gpu
from benchmarks.trace import Call, Trace
from benchmarks.update import VARIANTS, traced_update
from benchmarks.waits import waits_of_updates
from speechlm.conventions import SAMPLE_RATE, WINDOW
from speechlm.kernels import triton
from speechlm.models import SpeechLM, SpeechLMConfig

GPUS = {"a100": (312.0, 2.04), "h100": (989.0, 3.35), "h200": (989.0, 4.8)}
"""Peak of bfloat16 products (TFLOP/s) and bandwidth (TB/s), of the makers' data sheets (SXM)."""
LAUNCH_US = 2.0
"""What a kernel costs beside its work."""
BANDWIDTH_SHARE = 0.8
"""Of the data sheet's, that kernels reach."""
PEAK_SHARE = {"products": 0.55, "attention kernel": 0.2, "convolutions": 0.25}
"""Of the data sheet's, that kernels of a kind reach: estimates, not measurements."""

PARTS = (
    ("feature_extractor", "front end"),
    ("pos_conv", "position convolution"),
    ("layers", "Transformer layers"),
    ("unit_encoder_ctc_head", "CTC head"),
)
REST = "masks, embeddings, losses"


def count(args: argparse.Namespace) -> dict[str, float]:
    """Counts kernels, bytes, operations, waits and memory of a step on a GPU, without a GPU.

    The step is a batch's forward and backward pass; clipping and the optimiser, which follow it,
    stand in a table of their own, as torch does them by itself and by its kernel for all weights.
    """
    peak, bandwidth = GPUS[args.gpu]
    peak, bandwidth = args.peak_tflops or peak, args.bandwidth_tb or bandwidth
    figures: dict[str, float] = {}
    for name in dict.fromkeys((args.model, args.beside or args.model)):
        trace = traced(name, args)
        for title, sort in (("part", part_of_call), ("kind", kind_of_call)):
            table(name, title, sort, trace.calls, peak, bandwidth)
        figures |= {f"{name}_{key}": value for key, value in summary(trace, peak, bandwidth)}
        if not args.features:  # of the whole update, the loop and the optimiser included
            figures[f"{name}_waits"] = waits(name, args)
            figures |= count_update(name, peak, bandwidth)
        figures[f"{name}_state_gib"] = round(state_gib(name), 2)
        milliseconds = figures[f"{name}_estimated_ms"]
        figures[f"{name}_audio_seconds_per_second"] = round(
            args.batch * args.seconds / milliseconds * 1e3
        )
    return figures


def state_gib(name: str) -> float:
    """GiB of what a training keeps of a size of model: float32 weights, gradients, Adam's means."""
    with torch.device(META):
        model = SpeechLM(getattr(SpeechLMConfig, name)(), N_UNITS, N_CHARACTERS)
    numbers = sum(weight.numel() for weight in model.parameters())
    return 4 * 4 * numbers / 2**30


def count_update(name: str, peak: float, bandwidth: float) -> dict[str, float]:
    """Prints what clipping and the optimiser take, and returns their kernels, bytes and time."""
    with torch.device(META), torch.no_grad():
        model = SpeechLM(getattr(SpeechLMConfig, name)(), N_UNITS, N_CHARACTERS)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    traces = {variant: traced_update(weights, variant) for variant in VARIANTS}
    calls = [call for trace in traces.values() for call in trace.calls]
    table(name, "after a step, either", part_of_call, calls, peak, bandwidth, sums=False)
    return {
        f"{name}_{variant}_update_{key}": value
        for variant, trace in traces.items()
        for key, value in summary(trace, peak, bandwidth)
        if key in ("kernels", "gigabytes", "estimated_ms")
    }


def traced(name: str, args: argparse.Namespace) -> Trace:
    """A forward and backward pass of that size of model, with layer drop off."""
    drop = {"speech_layerdrop": 0.0, "shared_layerdrop": 0.0}
    config = getattr(SpeechLMConfig, name)(**drop)
    with torch.device(META), torch.no_grad():
        model = SpeechLM(config, N_UNITS, N_CHARACTERS)
    torch.manual_seed(args.seed)
    batch = host_batch(config, args)
    trace = Trace(part_of)
    with pretended_gpu(low_type(args)), triton() if args.triton else nullcontext(), trace:
        trace.known([*model.parameters(), *model.buffers(), *batch])
        if args.features:
            model.extract_features(batch[0], None, "all")
        else:
            loss, _, _ = model.train()(*batch)
            loss.backward()
    return trace


def waits(name: str, args: argparse.Namespace) -> float:
    """How often the host waits for the GPU in an update of a training of many.

    What `READ_EVERY` updates report is read together.
    """
    from speechlm.tasks.ledger import READ_EVERY  # and with it ESPnet

    config = getattr(SpeechLMConfig, name)()
    waveforms, *others = host_batch(config, args)
    tensors = [torch.zeros(waveforms.shape), *others]
    with triton() if args.triton else nullcontext():
        *_, update, reading = waits_of_updates(config, tensors, low_type(args))
    return update + reading / READ_EVERY


def low_type(args: argparse.Namespace) -> torch.dtype | None:
    """The type of mixed precision, if any."""
    return None if args.dtype == "float32" else getattr(torch, args.dtype)


def host_batch(config: SpeechLMConfig, args: argparse.Namespace) -> list[torch.Tensor]:
    """Waveforms that have a shape alone; and on the host lengths, labels, units and characters."""
    samples = int(args.seconds * SAMPLE_RATE)
    labels = (samples - WINDOW) // (SAMPLE_RATE // config.label_rate) + 1
    batch = [
        torch.empty(args.batch, samples, device=META),
        torch.full((args.batch,), samples),
        torch.randint(4, N_UNITS - 1, (args.batch, labels)),
    ]
    if args.text_units:
        units, rows = units_of(config, args.text_units), args.text_batch or args.batch
        batch.append(torch.randint(4, N_UNITS - 1, (rows, units)))
        batch.append(torch.randint(4, N_CHARACTERS - 1, (rows, args.text_units // 5)))
    return batch


def part_of(modules: set[str]) -> str:
    """The part of the model that modules of these names belong to."""
    words = {word for name in modules for word in name.split(".")}
    return next((part for word, part in PARTS if word in words), REST)


def part_of_call(call: Call) -> str:
    """Where it belongs in the model."""
    return call.part


def kind_of_call(call: Call) -> str:
    """What sort of kernel it is."""
    return call.kind


def milliseconds(calls: Iterable[Call], peak: float, bandwidth: float) -> float:
    """Roofline estimate: of each call the longer of its bytes and its products, and its launches.

    Args:
        calls: what is done, one after the other.
        peak: of products, TFLOP/s.
        bandwidth: of the memory, TB/s.
    """
    total = 0.0
    for call in calls:
        by_bytes = (call.read + call.written) / (BANDWIDTH_SHARE * bandwidth * 1e12)
        by_products = call.flop / (PEAK_SHARE.get(call.kind, 1.0) * peak * 1e12)
        total += max(by_bytes, by_products) + call.kernels * LAUNCH_US * 1e-6
    return 1e3 * total


def table(
    name: str,
    title: str,
    sort: Callable[[Call], str],
    calls: list[Call],
    peak: float,
    bandwidth: float,
    sums: bool = True,
) -> None:
    """Prints kernels, bytes, operations and the estimate of each part or kind, in Markdown.

    Args:
        name: of the model.
        title: what a row is.
        sort: the row that a call belongs to.
        calls: what is done.
        peak, bandwidth: as in `milliseconds`.
        sums: whether the last row has the sums of all.
    """
    groups: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        groups[sort(call)].append(call)
    print(f"\n| {name}: {title} | kernels | GB | TFLOP | estimated ms |\n|---|---|---|---|---|")
    estimates = {key: milliseconds(own, peak, bandwidth) for key, own in groups.items()}
    for key in sorted(groups, key=lambda key: -estimates[key]):
        print(f"| {key} | {row(groups[key])} | {estimates[key]:.1f} |")
    if sums:
        print(f"| **sum** | {row(calls)} | {sum(estimates.values()):.1f} |")
    print()


def row(calls: list[Call]) -> str:
    """Sums of some calls, as cells of a table."""
    moved = sum(call.read + call.written for call in calls) / 1e9
    flop = sum(call.flop for call in calls) / 1e12
    return f"{sum(call.kernels for call in calls)} | {moved:.2f} | {flop:.2f}"


def summary(trace: Trace, peak: float, bandwidth: float) -> list[tuple[str, float]]:
    """Names and values of what the step takes as a whole."""
    calls = trace.calls
    flop = sum(call.flop for call in calls)
    estimate = milliseconds(calls, peak, bandwidth)
    return [
        ("kernels", sum(call.kernels for call in calls)),
        ("gigabytes", round(sum(call.read + call.written for call in calls) / 1e9, 2)),
        ("tflop", round(flop / 1e12, 3)),
        ("waits", trace.waits),
        ("peak_gib", round(trace.peak_bytes / 2**30, 2)),
        ("estimated_ms", round(estimate, 2)),
        ("estimated_mfu", round(flop / (estimate / 1e3 * peak * 1e12), 3)),
    ]
