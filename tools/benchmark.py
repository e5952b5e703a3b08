#!/usr/bin/env python3
"""Speed and memory of SpeechLM on this machine, with random weights and noise as input.

    python tools/benchmark.py pretrain-step --size base --threads 2
    python tools/benchmark.py extract --size large --dtype bfloat16

Prints medians; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from speechlm.models import SpeechLM, SpeechLMConfig

N_UNITS, N_CHARACTERS = 369, 33
SAMPLE_RATE = 16000


def pretrain_step(args: argparse.Namespace) -> tuple[Callable[[], None], float]:
    """(one forward and backward pass over a speech and a text batch, seconds of speech)."""
    changes = {"speech_layerdrop": 0.0, "shared_layerdrop": 0.0, "label_rate": args.label_rate}
    model = build(args, **changes).train()
    samples = int(args.seconds * SAMPLE_RATE)
    lengths = torch.full((args.batch,), samples, device=args.device)
    n_labels = (samples - 400) // (SAMPLE_RATE // args.label_rate) + 1
    batch = [
        torch.randn(args.batch, samples, device=args.device),
        lengths,
        torch.randint(4, N_UNITS - 1, (args.batch, n_labels), device=args.device),
    ]
    if args.text_units:
        text = (args.batch, args.text_units)
        batch.append(torch.randint(4, N_UNITS - 1, text, device=args.device))
        characters = (args.batch, args.text_units // 5)
        batch.append(torch.randint(4, N_CHARACTERS - 1, characters, device=args.device))

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with autocast(args):
            loss, _, _ = model(*batch)
        loss.backward()

    return step, args.batch * args.seconds


def extract(args: argparse.Namespace) -> tuple[Callable[[], None], float]:
    """(one extract_features call, seconds of speech)."""
    model = build(args).eval()
    waveforms = torch.randn(args.batch, int(args.seconds * SAMPLE_RATE), device=args.device)

    def step() -> None:
        with autocast(args):
            model.extract_features(waveforms)

    return step, args.batch * args.seconds


def build(args: argparse.Namespace, **changes: object) -> SpeechLM:
    """A model of the asked size with random weights."""
    torch.manual_seed(args.seed)
    config = getattr(SpeechLMConfig, args.size)(**changes)
    return SpeechLM(config, N_UNITS, N_CHARACTERS).to(args.device)


def autocast(args: argparse.Namespace):
    """The number format to compute in."""
    if args.dtype == "float32":
        return nullcontext()
    return torch.autocast(args.device, getattr(torch, args.dtype))


def measure(step: Callable[[], None], args: argparse.Namespace) -> dict[str, float]:
    """Median wall and CPU seconds of a step, and the peak memory of the process or GPU in GiB."""
    on_gpu = args.device == "cuda"
    walls, cpus = [], []
    for _ in range(args.repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        if on_gpu:
            torch.cuda.synchronize()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else peak_rss()
    return {
        "seconds": round(statistics.median(walls), 4),
        "cpu_seconds": round(statistics.median(cpus), 4),
        "peak_gib": round(peak, 3),
    }


def peak_rss() -> float:
    """Largest resident size of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def flops_of(step: Callable[[], None]) -> int:
    """Floating-point operations of the matrix products and convolutions of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def matrix_rate(args: argparse.Namespace) -> float:
    """Operations a second of a large matrix product: the limit that a step can reach."""
    size = 8192 if args.device == "cuda" else 2048
    dtype = getattr(torch, args.dtype)
    a = torch.randn(size, size, device=args.device, dtype=dtype)
    times = []
    for _ in range(6):
        start = time.perf_counter()
        _ = a @ a
        if args.device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in (("pretrain-step", pretrain_step), ("extract", extract)):
        command = commands.add_parser(name, help=run.__doc__, allow_abbrev=False)
        command.set_defaults(run=run)
        command.add_argument("--size", choices=["tiny", "base", "large"], default="base")
        command.add_argument("--batch", type=int, default=4, help="utterances (and sentences)")
        command.add_argument("--seconds", type=float, default=10.0, help="of each utterance")
        command.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
        command.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--repeats", type=int, default=3)
        command.add_argument("--seed", type=int, default=0)
        if name == "pretrain-step":
            command.add_argument("--text_units", type=int, default=1000, help="of each sentence")
            command.add_argument("--label_rate", type=int, choices=[50, 100], default=50)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Runs one benchmark."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    step, audio_seconds = args.run(args)
    flops = flops_of(step)  # also warms up
    figures = measure(step, args)
    limit = matrix_rate(args)
    figures["tflop"] = round(flops / 1e12, 6)
    figures["audio_seconds_per_second"] = round(audio_seconds / figures["seconds"], 2)
    figures["matrix_gflops_limit"] = round(limit / 1e9, 1)
    figures["share_of_limit"] = round(flops / figures["seconds"] / limit, 3)
    for key, value in figures.items():
        print(f"{key:>28} {value}")
    settings = {key: value for key, value in vars(args).items() if key != "run"}
    print(json.dumps({**settings, **figures, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
