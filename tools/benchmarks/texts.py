"""Units of text: phoneme units from lines, hidden units from phones."""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.measure import peak_rss

if TYPE_CHECKING:
    from speechlm.data.lexicon import Lexicon


def text(args: argparse.Namespace) -> dict[str, float]:
    """Phoneme units of a made-up text (lines a second), and hidden units from phones (units)."""
    from speechlm.data.text_corpus import TextCorpus
    from speechlm.models.text_to_unit import TextToUnit, TextToUnitConfig
    from speechlm.tokenizers import text_report

    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        path, lexicon = write_made_up_text(Path(folder), args.lines, args.seed)
        corpus, tokenizer = TextCorpus(path), text_report.make_tokenizer(lexicon, args.seed)
        runs = [text_report.benchmark(tokenizer, corpus, args.seconds) for _ in range(args.repeats)]
    figures = {key: statistics.median(run[key] for run in runs) for key in runs[0]}

    torch.manual_seed(args.seed)
    model = TextToUnit(TextToUnitConfig(), n_phones=46, n_units=500)
    predictor = model.encoder.duration_predictor.proj
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


def write_made_up_text(folder: Path, lines: int, seed: int) -> tuple[Path, Lexicon]:
    """Sentences of 8 to 26 made-up words, a line each, and the lexicon of these words."""
    from speechlm.data.lexicon import Lexicon

    draw = random.Random(seed)
    letters, phones = "ETAOINSHRDLU", ("AH0", "T", "N", "S", "IY1", "R", "D", "L", "K", "EH1")
    words = {"".join(draw.choices(letters, k=draw.randint(1, 8))) for _ in range(20000)}
    lexicon = Lexicon(
        {w: [tuple(draw.choices(phones, k=max(1, len(w) - 1)))] for w in sorted(words)}
    )
    vocabulary, path = sorted(words), folder / "text"
    rows = (" ".join(draw.choices(vocabulary, k=draw.randint(8, 26))) for _ in range(lines))
    path.write_text("".join(f"{row}\n" for row in rows))
    return path, lexicon
