"""Looking at phoneme units of text: printing, checking a whole corpus, timing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speechlm.data.atomic import write_text
from speechlm.data.lexicon import Lexicon
from speechlm.data.text_corpus import TextCorpus
from speechlm.data.vocabulary import add_positions
from speechlm.progress import Progress
from speechlm.tokenizers.durations import DurationTable, UnitDurations
from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer
from speechlm.tokenizers.text_batch import Dropped, TextBatch

_BATCH = 1024


def make_tokenizer(
    lexicon: Lexicon, seed: int, table: DurationTable | None = None
) -> PhonemeTextTokenizer:
    """The tokenizer of a lexicon, with the paper's durations or measured ones (as 20 ms units)."""
    if table is None:
        return PhonemeTextTokenizer(lexicon, seed)
    symbols = {symbol for word in lexicon for symbol in add_positions(lexicon.entries[word][0])}
    durations = UnitDurations.from_table(table, sorted(symbols))
    return PhonemeTextTokenizer(lexicon, seed, durations)


def show(
    tokenizer: PhonemeTextTokenizer, corpus: TextCorpus, n_lines: int, epoch: int
) -> Iterator[str]:
    """Two rows a line: its number and text; its units as `PHONE*times`."""
    indices = range(min(n_lines, len(corpus)))
    batch = tokenizer(corpus.lines(indices), indices, epoch)
    for index, (units, _) in zip(batch.indices, batch, strict=True):
        yield f"{index} {corpus[index]}"
        starts = np.flatnonzero(np.diff(units[:-1], prepend=-1))
        times = np.diff(starts, append=len(units) - 1)
        names = tokenizer.units.to_symbols(units[starts])
        yield " ".join(f"{name}*{count}" for name, count in zip(names, times, strict=True))
    for dropped in batch.dropped:
        yield f"{dropped.index} dropped: {dropped.reason}"


@dataclass
class TextReport:
    """What became of the lines of a corpus."""

    lines: int = 0
    words: int = 0
    units: int = 0
    dropped: list[Dropped] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)

    def add(self, batch: TextBatch) -> None:
        """Count one batch."""
        self.lines += len(batch) + len(batch.dropped)
        self.words += int((batch.characters == 4).sum())
        self.units += len(batch.units) - len(batch)
        self.dropped += batch.dropped
        self.unknown += batch.unknown

    def summary(self) -> str:
        """One line."""
        times = sum(self.unknown.values())
        return (
            f"{self.lines} lines, {self.words} words, {self.units} units; dropped: "
            f"{len(self.dropped)} lines; unknown words: {len(self.unknown)} ({times} times)"
        )

    def write(self, path: str | Path) -> None:
        """The summary, each dropped line (number from 0, reason), each unknown word (count)."""
        rows = [self.summary(), "", "dropped lines:"]
        rows += [f"{d.index} {d.reason}" for d in self.dropped]
        rows += ["", "unknown words:"]
        rows += [f"{word} {n}" for word, n in self.unknown.most_common()]
        write_text(path, "\n".join(rows) + "\n")


def check(tokenizer: PhonemeTextTokenizer, corpus: TextCorpus, epoch: int) -> TextReport:
    """Tokenize a whole corpus once, in order."""
    report = TextReport()
    with Progress("lines", len(corpus)) as shown:
        for start in range(0, len(corpus), _BATCH):
            indices = range(start, min(start + _BATCH, len(corpus)))
            report.add(tokenizer(corpus.lines(indices), indices, epoch))
            shown.advance(len(indices))
    return report


def benchmark(
    tokenizer: PhonemeTextTokenizer, corpus: TextCorpus, seconds: float
) -> dict[str, float]:
    """Lines a second, of one process, in batches of 1,024 lines in random order.

    Counts the tokenizer's own time (words to ids, silences, durations, characters) and apart from
    it that of reading the lines; CPU seconds and wall seconds.
    """
    order = np.random.default_rng(0).permutation(len(corpus))
    cpu = wall = reading = 0.0
    report = TextReport()
    epoch = position = 0
    while wall < seconds or not report.lines:
        indices = order[position : position + _BATCH]
        started = time.process_time()
        lines = corpus.lines(indices)
        reading += time.process_time() - started
        start_cpu, start_wall = time.process_time(), time.perf_counter()
        batch = tokenizer(lines, indices, epoch)
        cpu += time.process_time() - start_cpu
        wall += time.perf_counter() - start_wall
        report.add(batch)
        position += _BATCH
        if position >= len(order):
            epoch, position = epoch + 1, 0
    kept = max(1, report.lines - len(report.dropped))
    return {
        "lines": report.lines,
        "words_per_line": round(report.words / kept, 2),
        "units_per_line": round(report.units / kept, 1),
        "lines_per_cpu_second": round(report.lines / cpu),
        "lines_per_wall_second": round(report.lines / wall),
        "lines_per_cpu_second_with_reading": round(report.lines / (cpu + reading)),
    }
