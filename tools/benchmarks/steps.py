"""A training step and feature extraction: time, memory, and the share of what is possible."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch

from benchmarks.measure import (
    N_CHARACTERS,
    N_UNITS,
    autocast,
    build,
    matrix_rate,
    measure,
    peak_gib,
)
from benchmarks.operations import FORWARD_AND_BACKWARD, SPEECH_PARTS, forward_operations, units_of
from speechlm.conventions import SAMPLE_RATE, WINDOW
from speechlm.kernels import KERNELS, fast, plain
from speechlm.models import SpeechLMConfig


def pretrain_step(args: argparse.Namespace) -> dict[str, float]:
    """One forward and backward pass over a speech and a text batch."""
    return figures_of(training_step, args)


def extract(args: argparse.Namespace) -> dict[str, float]:
    """One call of extract_features."""
    return figures_of(extraction, args)


def extraction(args: argparse.Namespace) -> Callable[[], None]:
    """Features of noise from random weights."""
    model = build(args).eval()
    waveforms = torch.randn(args.batch, int(args.seconds * SAMPLE_RATE), device=args.device)

    def step() -> None:
        with autocast(args):
            model.extract_features(waveforms)

    return step


def figures_of(
    make: Callable[[argparse.Namespace], Callable[[], None]], args: argparse.Namespace
) -> dict[str, float]:
    """Times and memory of a step, and what share of the machine's products it reaches.

    With `beside` also the other model's times, and the ratios to them.
    """
    sizes = [args.model, *([args.beside] if args.beside else [])]
    steps = [make(argparse.Namespace(**{**vars(args), "model": size})) for size in sizes]
    figures, *others = measure(steps, args)
    figures["peak_gib"] = peak_gib(args)
    flops, limit = flops_of(args), matrix_rate(args)
    rate = flops / figures["seconds"]
    figures["tflop"] = round(flops / 1e12, 6)
    figures["audio_seconds_per_second"] = round(args.batch * args.seconds / figures["seconds"], 2)
    figures["matrix_gflops_limit"] = round(limit / 1e9, 1)
    figures["share_of_limit"] = round(rate / limit, 3)
    if args.device == "cuda":
        figures["mfu"] = round(rate / (args.peak_tflops * 1e12 if args.peak_tflops else limit), 3)
    for other in others:
        for name, value in other.items():
            figures[f"{args.beside}_{name}"] = value
            figures[f"{name}_ratio"] = round(figures[name] / value, 3)
    return figures


def training_step(args: argparse.Namespace) -> Callable[[], None]:
    """A step of pre-training with random weights, on noise."""
    changes = {"speech_layerdrop": 0.0, "shared_layerdrop": 0.0, "label_rate": args.label_rate}
    model = build(args, **changes).train()
    samples = int(args.seconds * SAMPLE_RATE)
    lengths = torch.full((args.batch,), samples)  # on the host, as all that decides on masks
    n_labels = (samples - WINDOW) // (SAMPLE_RATE // args.label_rate) + 1
    batch = [
        torch.randn(args.batch, samples, device=args.device),
        lengths,
        torch.randint(4, N_UNITS - 1, (args.batch, n_labels)),
    ]
    if args.text_units:
        text = (args.batch, units_of(model.config, args.text_units))
        batch.append(torch.randint(4, N_UNITS - 1, text))
        batch.append(torch.randint(4, N_CHARACTERS - 1, (args.batch, args.text_units // 5)))

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with autocast(args):
            loss, _, _ = model(*batch)
        loss.backward()

    return step


def flops_of(args: argparse.Namespace) -> float:
    """Operations of a step's products and convolutions, counted from the definition.

    What is computed again does not count.
    """
    text_units = 0 if args.command == "extract" else args.text_units
    config = getattr(SpeechLMConfig, args.model)()
    parts = forward_operations(config, args.batch, args.seconds, text_units)
    if args.command == "extract":
        return sum(parts[name] for name in SPEECH_PARTS)
    return FORWARD_AND_BACKWARD * sum(parts.values())


def kernels(args: argparse.Namespace) -> dict[str, float]:
    """What each kernel gains: the time that a step takes longer with its plain twin, in per cent.

    Also the tensors kept for the backward pass, in GiB.
    """
    own = [name for name in KERNELS if fast(name, torch.empty(0, device=args.device))]
    names = args.kernels or [name for name in own if name != "tiles"]
    step = training_step(args)
    times: dict[str, list[float]] = {name: [] for name in ("", *names)}
    for name, seconds in times.items():
        with plain(name) if name else nullcontext():
            # Not timed: freed memory lies about in the sizes that the variant before it asked for,
            # and a step that finds none of its sizes takes up to a tenth longer.
            step()
            for _ in range(args.repeats):
                start = time.perf_counter()
                step()
                seconds.append(time.perf_counter() - start)
    # The least, not the median: what else runs on the machine only ever adds.
    whole = min(times[""])
    figures = {"seconds": round(whole, 3), "kept_gib": round(kept_gib(step), 6)}
    for name in names:
        gain = 100 * (min(times[name]) / whole - 1)
        with plain(name):
            figures[f"{name}_kept_gib"] = round(kept_gib(step), 6)
        figures[f"{name}_percent"] = round(gain, 1)
    return figures


def kept_gib(step: Callable[[], None]) -> float:
    """Size of the tensors that a step keeps for its backward pass, parameters among them."""
    sizes: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        step()
    return sum(sizes.values()) / 2**30
