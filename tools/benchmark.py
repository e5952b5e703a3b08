#!/usr/bin/env python3
"""Speed and memory of SpeechLM on this machine, with random weights and noise as input.

    python tools/benchmark.py pretrain-step --model base --threads 2
    python tools/benchmark.py pretrain-step --device cuda --dtype bfloat16 --batch 8
    python tools/benchmark.py extract --model large --dtype bfloat16
    python tools/benchmark.py pretrain-step --model fast_base --beside base
    python tools/benchmark.py operations --model fast_base --beside base
    python tools/benchmark.py count --model base --gpu h100 --triton
    python tools/benchmark.py kernels
    python tools/benchmark.py text
    python tools/benchmark.py data --recordings DIR
    python tools/benchmark.py beam --model base --threads 1
    python tools/benchmark.py decode --emissions DIR --graph DIR --data_dir DIR --weights FILE
    python tools/benchmark.py decode --build lm.arpa words.txt --made_up_ngrams 1500000

Prints medians; the last line is one JSON object. `share_of_limit` compares with the fastest large
matrix product that the same process can do; on a GPU that product's rate stands for the peak in the
MFU, too, unless --peak_tflops gives the one of the data sheet.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.count import GPUS, count
from benchmarks.decoding import add_decode, decode
from benchmarks.loading import data
from benchmarks.measure import report
from benchmarks.operations import operations
from benchmarks.steps import extract, kernels, pretrain_step
from benchmarks.texts import text
from benchmarks.translation import beam

from speechlm.kernels import KERNELS
from speechlm.kernels.memory import reuse_memory

KERNELS_HELP = "default: all of the device"
UNITS_HELP = "of 20 ms, of each sentence; a model of other frames has as many as last as long"
SIZES = ("tiny", "base", "large", "fast_tiny", "fast_base", "fast_large")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    steps = (("pretrain-step", pretrain_step), ("extract", extract), ("kernels", kernels))
    for name, run in steps:
        command = commands.add_parser(name, help=run.__doc__, allow_abbrev=False)
        command.set_defaults(run=run)
        command.add_argument("--model", choices=SIZES, default="base")
        if name != "kernels":
            command.add_argument("--beside", choices=SIZES, help="a model to compare with")
        command.add_argument("--batch", type=int, default=4, help="utterances (and sentences)")
        command.add_argument("--seconds", type=float, default=10.0, help="of each utterance")
        command.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
        command.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--repeats", type=int, default=3)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--peak_tflops", type=float, help="of the GPU, for the MFU")
        command.add_argument(
            "--fresh_memory",
            dest="reuse_memory",
            action="store_false",
            help="do not keep freed memory for the next allocation",
        )
        if name == "kernels":
            command.add_argument("--kernels", nargs="+", choices=list(KERNELS), help=KERNELS_HELP)
        if name != "extract":
            command.add_argument("--text_units", type=int, default=1000, help=UNITS_HELP)
            command.add_argument("--label_rate", type=int, choices=[50, 100], default=50)
    command = commands.add_parser("operations", help=operations.__doc__, allow_abbrev=False)
    command.set_defaults(run=operations)
    command.add_argument("--model", choices=SIZES, default="base")
    command.add_argument("--beside", choices=SIZES, help="a model to compare with")
    command.add_argument("--batch", type=int, default=8, help="utterances (and sentences)")
    command.add_argument("--seconds", type=float, default=10.94, help="of each utterance")
    command.add_argument("--text_units", type=int, default=547, help=UNITS_HELP)
    command.add_argument("--updates", type=int, default=400_000, help="of the whole training")
    command.add_argument("--gpus", type=int, default=32, help="with such a batch each")
    command.add_argument("--peak_tflops", type=float, default=989.0, help="of the GPU's data sheet")
    command.add_argument("--threads", type=int, default=1)
    command = commands.add_parser("count", help=count.__doc__, allow_abbrev=False)
    command.set_defaults(run=count)
    command.add_argument("--model", choices=SIZES, default="base")
    command.add_argument("--beside", choices=SIZES, help="another model")
    command.add_argument("--batch", type=int, default=8, help="utterances (and sentences)")
    command.add_argument("--seconds", type=float, default=10.94, help="of each utterance")
    command.add_argument("--text_units", type=int, default=547, help=UNITS_HELP)
    command.add_argument("--text_batch", type=int, help="sentences, if not as many as utterances")
    command.add_argument("--features", action="store_true", help="features of all layers instead")
    command.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    command.add_argument("--triton", action="store_true", help="as with SPEECHLM_TRITON=1")
    command.add_argument("--gpu", choices=list(GPUS), default="h100", help="of the estimate")
    command.add_argument("--peak_tflops", type=float, help="in place of the GPU's own")
    command.add_argument("--bandwidth_tb", type=float, help="in place of the GPU's own, TB/s")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--threads", type=int, default=1)
    command = commands.add_parser("text", help=text.__doc__, allow_abbrev=False)
    command.set_defaults(run=text)
    command.add_argument("--lines", type=int, default=20000, help="of the text")
    command.add_argument("--sentences", type=int, default=64, help="that get hidden units")
    command.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    command.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--repeats", type=int, default=3)
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("data", help=data.__doc__, allow_abbrev=False)
    command.set_defaults(run=data)
    command.add_argument("--recordings", help="folder of 16 kHz FLAC; none: made-up sounds")
    command.add_argument("--utterances", type=int, default=100, help="that batches are made of")
    command.add_argument("--seconds", type=float, default=12.0, help="of a made-up sound")
    command.add_argument("--lines", type=int, default=10000, help="of the text")
    command.add_argument("--batch_samples", type=int, default=1_400_000, help="of a batch")
    command.add_argument("--batch_units", type=int, default=4375, help="of a batch")
    command.add_argument("--batches_at_once", type=int, default=1, help="as in pre-training")
    command.add_argument("--batches", type=int, default=40, help="of a measurement")
    command.add_argument("--num_workers", type=int, default=6, help="that count each block of text")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--repeats", type=int, default=3)
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("beam", help=beam.__doc__, allow_abbrev=False)
    command.set_defaults(run=beam)
    command.add_argument("--model", choices=["tiny", "base", "large"], default="base")
    command.add_argument("--utterances", type=int, default=16)
    command.add_argument("--seconds", type=float, default=8.0, help="of the longest utterance")
    command.add_argument("--tokens", type=int, default=100, help="of the target vocabulary")
    command.add_argument("--max_tokens", type=int, default=63, help="of a translation")
    command.add_argument("--beam", type=int, default=5)
    command.add_argument("--batch_samples", type=int, default=1_600_000, help="padded samples")
    command.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    command.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--repeats", type=int, default=1)
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("decode", help=decode.__doc__, allow_abbrev=False)
    command.set_defaults(run=decode)
    add_decode(command)
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--repeats", type=int, default=1)
    command.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Runs one benchmark."""
    args = parse(argv)
    if getattr(args, "device", "cpu") == "cuda" and not torch.cuda.is_available():
        sys.exit("error: --device cuda: torch finds no GPU here")
    torch.set_num_threads(args.threads)
    if getattr(args, "reuse_memory", True):
        reuse_memory()
    report(args, args.run(args))


if __name__ == "__main__":
    main()
