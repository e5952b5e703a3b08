#!/usr/bin/env python3
"""Speed and memory of SpeechLM on this machine, with random weights and noise as input.

    python tools/benchmark.py pretrain-step --model base --threads 2
    python tools/benchmark.py pretrain-step --device cuda --dtype bfloat16 --batch 8
    python tools/benchmark.py extract --model large --dtype bfloat16
    python tools/benchmark.py text
    python tools/benchmark.py beam --model base --threads 1

Prints medians; the last line is one JSON object. `share_of_limit` compares with a large matrix
product done by the same process; on a GPU that product's rate stands for the peak in the MFU, too,
unless --peak_tflops gives the one of the data sheet.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from speechlm.conventions import EOS, SAMPLE_RATE, WINDOW
from speechlm.kernels.memory import reuse_memory
from speechlm.models import SpeechLM, SpeechLMConfig

N_UNITS, N_CHARACTERS = 369, 33


def pretrain_step(args: argparse.Namespace) -> tuple[Callable[[], None], float]:
    """(one forward and backward pass over a speech and a text batch, seconds of speech)."""
    changes = {"speech_layerdrop": 0.0, "shared_layerdrop": 0.0, "label_rate": args.label_rate}
    model = build(args, **changes).train()
    samples = int(args.seconds * SAMPLE_RATE)
    lengths = torch.full((args.batch,), samples, device=args.device)
    n_labels = (samples - WINDOW) // (SAMPLE_RATE // args.label_rate) + 1
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


def text(args: argparse.Namespace) -> dict[str, float]:
    """Phoneme units of a made-up text (lines a second), and hidden units from phones (units)."""
    from speechlm.data.text_corpus import TextCorpus
    from speechlm.models.text_to_unit import TextToUnit, TextToUnitConfig
    from speechlm.tokenizers import text_report
    from speechlm.tokenizers.lexicon import Lexicon

    draw = random.Random(args.seed)
    letters, phones = "ETAOINSHRDLU", ("AH0", "T", "N", "S", "IY1", "R", "D", "L", "K", "EH1")
    words = {"".join(draw.choices(letters, k=draw.randint(1, 8))) for _ in range(20000)}
    lexicon = Lexicon(
        {w: [tuple(draw.choices(phones, k=max(1, len(w) - 1)))] for w in sorted(words)}
    )
    vocabulary = sorted(words)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        rows = (
            " ".join(draw.choices(vocabulary, k=draw.randint(8, 26))) for _ in range(args.lines)
        )
        path.write_text("".join(f"{row}\n" for row in rows))
        corpus, tokenizer = TextCorpus(path), text_report.make_tokenizer(lexicon, args.seed)
        runs = [text_report.benchmark(tokenizer, corpus, args.seconds) for _ in range(args.repeats)]
    figures = {key: statistics.median(run[key] for run in runs) for key in runs[0]}

    torch.manual_seed(args.seed)
    model = TextToUnit(TextToUnitConfig(), n_phones=46, n_units=500)
    predictor = model.encoder.var_adaptor.duration_predictor.proj
    torch.nn.init.zeros_(predictor.weight)
    torch.nn.init.constant_(predictor.bias, math.log(1 + 6))  # six units a phone
    frozen = model.freeze(getattr(torch, args.dtype))
    sentences = [torch.randint(4, 46, (draw.randint(40, 104),)) for _ in range(args.sentences)]
    rates = []
    for _ in range(args.repeats + 1):
        start = time.perf_counter()
        units = sum(len(row) for row in frozen.generate(sentences))
        rates.append(units / (time.perf_counter() - start))
    figures["text_to_unit_units_per_second"] = round(statistics.median(rates[1:]))
    return {**figures, "peak_gib": round(peak_rss(), 3)}


def translator(args: argparse.Namespace) -> torch.nn.Module:
    """A model with random weights, whose translations are as long as they may be."""
    from speechlm.checkpoints.translation import TranslationModel
    from speechlm.models.translation_decoder import TranslationDecoderConfig

    config = getattr(SpeechLMConfig, args.model)(ignore_padding=True)
    shape = {"encoder_dim": config.embed_dim}
    if args.model == "tiny":
        shape |= {"embed_dim": 128, "ffn_dim": 512, "layers": 2, "heads": 4}
    torch.manual_seed(args.seed)
    decoder = TranslationDecoderConfig.from_dict(shape)
    model = TranslationModel(config, decoder, args.tokens).to(args.device).eval()
    with torch.no_grad():  # an end that is never likely
        model.decoder.output_projection.weight *= 4.0
        model.decoder.output_projection.weight[EOS] = 0.0
    return model


def beam(args: argparse.Namespace) -> dict[str, float]:
    """Translation of noise of 2 s to --seconds: sentences a second in batches, and one by one."""
    from speechlm.decode.beam_search import BeamOptions, beam_search
    from speechlm.decode.translate import batches

    model = translator(args)
    options = BeamOptions(args.beam, tokens_per_frame=args.tokens_per_frame, more_tokens=1)
    longest = int(args.seconds * SAMPLE_RATE)
    lengths = torch.linspace(min(2 * SAMPLE_RATE, longest), longest, args.utterances).long()
    waves = {str(i): torch.randn(int(n)) for i, n in enumerate(lengths)}

    def translate(batch_samples: int) -> tuple[dict[str, tuple[int, ...]], float, float]:
        """Tokens of each utterance, and seconds: of all, of the search alone."""
        found, start, searching = {}, time.perf_counter(), 0.0
        for ids in batches({name: len(wave) for name, wave in waves.items()}, batch_samples):
            padded = torch.nn.utils.rnn.pad_sequence([waves[i] for i in ids], batch_first=True)
            counts = torch.tensor([len(waves[i]) for i in ids])
            with torch.inference_mode(), autocast(args):
                features, padding = model.encode(padded.to(args.device), counts.to(args.device))
                if args.device == "cuda":
                    torch.cuda.synchronize()
                searching -= time.perf_counter()
                best = beam_search(model.decoder, features, padding, options)
                searching += time.perf_counter()
            found |= {i: hypotheses[0].tokens for i, hypotheses in zip(ids, best, strict=True)}
        return found, time.perf_counter() - start, searching

    runs, figures = {}, {}
    for name, batch_samples in (("batched", args.batch_samples), ("one_by_one", 1)):
        tries = [translate(batch_samples) for _ in range(args.repeats)]
        runs[name] = [tries[0][0], *(statistics.median(t[i] for t in tries) for i in (1, 2))]
        figures[f"{name}_sentences_per_second"] = round(args.utterances / runs[name][1], 3)
    one, many = runs["one_by_one"], runs["batched"]
    figures["speed_up"] = round(one[1] / many[1], 2)
    figures["search_speed_up"] = round(one[2] / many[2], 2)
    figures["tokens_written"] = sum(map(len, many[0].values()))
    figures["same_outputs"] = sum(many[0][name] == one[0][name] for name in waves)
    return {**figures, "peak_gib": round(peak_rss(), 3)}


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


def flops_of(args: argparse.Namespace) -> float:
    """Operations of a step's matrix products and convolutions, counted from the definition.

    A backward pass is twice the forward pass; what is computed again does not count, nor do the
    unit predictions (under 0.1 %).
    """
    config = getattr(SpeechLMConfig, args.model)()
    dim, samples = config.embed_dim, int(args.seconds * SAMPLE_RATE)
    per_frame = 2 * dim * (4 * dim + 2 * config.ffn_dim)

    def layers(frames: int) -> float:
        return frames * (per_frame + 2 * dim * (2 * frames + 2 * config.relative_clip))

    total, inputs = 0.0, 1
    for channels, kernel, stride in config.conv_layers:
        samples = (samples - kernel) // stride + 1
        total, inputs = total + 2 * samples * inputs * channels * kernel, channels
    total += 2 * samples * dim * (inputs + dim // config.pos_conv_groups * config.pos_conv_kernel)
    total += (config.speech_layers + config.shared_layers) * layers(samples)
    if args.command == "extract":
        return args.batch * total
    if args.text_units:
        total += config.shared_layers * layers(args.text_units)
        total += 2 * args.text_units * dim * (2 * dim + N_CHARACTERS)
    return 3 * args.batch * total


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
        command.add_argument("--model", choices=["tiny", "base", "large"], default="base")
        command.add_argument("--batch", type=int, default=4, help="utterances (and sentences)")
        command.add_argument("--seconds", type=float, default=10.0, help="of each utterance")
        command.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
        command.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--repeats", type=int, default=3)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--peak_tflops", type=float, help="of the GPU, for the MFU")
        if name == "pretrain-step":
            command.add_argument("--text_units", type=int, default=1000, help="of each sentence")
            command.add_argument("--label_rate", type=int, choices=[50, 100], default=50)
    command = commands.add_parser("text", help=text.__doc__, allow_abbrev=False)
    command.set_defaults(run=text)
    command.add_argument("--lines", type=int, default=20000, help="of the text")
    command.add_argument("--sentences", type=int, default=64, help="that get hidden units")
    command.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    command.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--repeats", type=int, default=3)
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("beam", help=beam.__doc__, allow_abbrev=False)
    command.set_defaults(run=beam)
    command.add_argument("--model", choices=["tiny", "base", "large"], default="base")
    command.add_argument("--utterances", type=int, default=16)
    command.add_argument("--seconds", type=float, default=8.0, help="of the longest utterance")
    command.add_argument("--tokens", type=int, default=100, help="of the target vocabulary")
    command.add_argument("--tokens_per_frame", type=float, default=0.25)
    command.add_argument("--beam", type=int, default=5)
    command.add_argument("--batch_samples", type=int, default=1_600_000, help="padded samples")
    command.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    command.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--repeats", type=int, default=1)
    command.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def report(args: argparse.Namespace, figures: dict[str, float]) -> None:
    """A table, then one JSON object."""
    for key, value in figures.items():
        print(f"{key:>28} {value}")
    settings = {key: value for key, value in vars(args).items() if key != "run"}
    settings["seconds_given"] = settings.pop("seconds")  # a step's time is `seconds`
    print(json.dumps({**settings, **figures, "torch": torch.__version__}))


def main(argv: list[str] | None = None) -> None:
    """Runs one benchmark."""
    args = parse(argv)
    if getattr(args, "device", "cpu") == "cuda" and not torch.cuda.is_available():
        sys.exit("error: --device cuda: torch finds no GPU here")
    torch.set_num_threads(args.threads)
    if args.command in ("text", "beam"):
        report(args, args.run(args))
        return
    reuse_memory()
    step, audio_seconds = args.run(args)
    step()  # warms up
    figures = measure(step, args)
    flops = flops_of(args)
    limit = matrix_rate(args)
    rate = flops / figures["seconds"]
    figures["tflop"] = round(flops / 1e12, 6)
    figures["audio_seconds_per_second"] = round(audio_seconds / figures["seconds"], 2)
    figures["matrix_gflops_limit"] = round(limit / 1e9, 1)
    figures["share_of_limit"] = round(rate / limit, 3)
    if args.device == "cuda":
        figures["mfu"] = round(rate / (args.peak_tflops * 1e12 if args.peak_tflops else limit), 3)
    report(args, figures)


if __name__ == "__main__":
    main()
