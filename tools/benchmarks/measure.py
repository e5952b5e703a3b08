"""What all benchmarks share: a model, number formats, times and memory."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from speechlm.kernels.products import product
from speechlm.models import SpeechLM, SpeechLMConfig

N_UNITS, N_CHARACTERS = 369, 33


def build(args: argparse.Namespace, **changes: object) -> SpeechLM:
    """A model of the asked size with random weights."""
    torch.manual_seed(args.seed)
    config = getattr(SpeechLMConfig, args.model)(**changes)
    return SpeechLM(config, N_UNITS, N_CHARACTERS).to(args.device)


def autocast(args: argparse.Namespace):
    """The number format to compute in."""
    if args.dtype == "float32":
        return nullcontext()
    return torch.autocast(args.device, getattr(torch, args.dtype))


def measure(
    steps: Sequence[Callable[[], None]], args: argparse.Namespace
) -> list[dict[str, float]]:
    """Median wall and CPU seconds of each step; they take turns, so that they share what disturbs.

    Each is run once before it is timed.
    """
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in steps]
    for repeat in range(args.repeats + 1):
        for step, (walls, cpus) in zip(steps, times, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            if args.device == "cuda":
                torch.cuda.synchronize()
            if repeat:
                walls.append(time.perf_counter() - wall)
                cpus.append(time.process_time() - cpu)
    return [
        {
            "seconds": round(statistics.median(walls), 4),
            "cpu_seconds": round(statistics.median(cpus), 4),
        }
        for walls, cpus in times
    ]


def peak_gib(args: argparse.Namespace) -> float:
    """Peak memory so far of the GPU, or of the process."""
    if args.device == "cuda":
        return round(torch.cuda.max_memory_allocated() / 2**30, 3)
    return round(peak_rss(), 3)


def matrix_rate(args: argparse.Namespace) -> float:
    """Operations a second of the fastest large matrix product: the limit that a step can reach.

    On a CPU two libraries are tried, that of torch's own products and oneDNN; which is the faster
    depends on the processor.
    """
    size = 8192 if args.device == "cuda" else 2048
    dtype = getattr(torch, args.dtype)
    a = torch.randn(size, size, device=args.device, dtype=dtype)
    times = []
    for multiply in (torch.matmul, product):
        for _ in range(6):
            start = time.perf_counter()
            multiply(a, a)
            if args.device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def peak_rss() -> float:
    """Largest resident size of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report(args: argparse.Namespace, figures: Mapping[str, Any]) -> None:
    """A table of the numbers, then all as one JSON object."""
    for key, value in figures.items():
        if not isinstance(value, list):
            print(f"{key:>28} {value}")
    settings = {key: value for key, value in vars(args).items() if key != "run"}
    if "seconds" in settings:
        settings["seconds_given"] = settings.pop("seconds")  # a step's time is `seconds`
    print(json.dumps({**settings, **figures, "torch": torch.__version__}))
