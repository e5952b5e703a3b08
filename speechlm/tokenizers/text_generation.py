"""Hidden units of a whole text corpus, by jobs that may be interrupted and started again."""

from __future__ import annotations

import fcntl
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from speechlm.checkpoints.text_to_unit_dir import load_text_to_unit
from speechlm.data.atomic import write_text
from speechlm.data.lexicon import Lexicon
from speechlm.data.text_corpus import TextCorpus
from speechlm.data.unit_store import ChunkProblem, ChunkReport, OtherStore, UnitStore
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.progress import Progress, progress
from speechlm.tokenizers.durations import PAPER_SILENCE_PROBABILITY, DurationTable
from speechlm.tokenizers.hidden_text import HiddenTextTokenizer, fingerprint

REPORT = "report.txt"


@dataclass
class Generation:
    """What is to be generated.

    `text` corpus, `model` folder of train_text_to_unit, `lexicon` file, `output` folder of
    the store, `durations` whose share of silences between words is used (None: the paper's),
    `seed` of the silences, `chunk_lines` lines that are generated and stored at a time,
    `replace` a store of another text or model rather than refuse it, `bfloat16`: compute in
    that type.
    """

    text: Path
    model: Path
    lexicon: Path
    output: Path
    durations: Path | None = None
    seed: int = 0
    chunk_lines: int = 10_000
    replace: bool = False
    bfloat16: bool = False


def generate_units(task: Generation, job: int, nj: int) -> int:
    """Generate the chunks of one of several jobs that are not there yet.

    Each job has a range of lines of its own. The result does not depend on their number: chunks are
    generated alone.

    Returns:
        Units that were generated.

    Raises:
        ValueError: no such job; a store of another text or model; unusable input.
    """
    if not 1 <= job <= nj:
        raise ValueError(f"job {job} of {nj}: 1 to {nj} expected")
    corpus = TextCorpus(task.text)
    stored = load_text_to_unit(task.model)
    probability = PAPER_SILENCE_PROBABILITY
    if task.durations is not None:
        probability = DurationTable.read(task.durations).silence_probability
    frozen = stored.model.freeze(torch.bfloat16 if task.bfloat16 else torch.float32)
    tokenizer = HiddenTextTokenizer(
        frozen, Lexicon.read(task.lexicon), task.seed, probability, phones=stored.phones
    )
    made_with = {
        "model": fingerprint([task.model / "model.safetensors"]),
        "lexicon": fingerprint([task.lexicon]),
        "silence_probability": probability,
        "seed": task.seed,
        "bfloat16": task.bfloat16,
    }
    store = _open_store(task, corpus, stored.units, stored.frame_shift, made_with)
    total, started = 0, time.perf_counter()
    mine = range(store.n_chunks * (job - 1) // nj, store.n_chunks * job // nj)
    with Progress("lines", sum(len(store.lines_of(chunk)) for chunk in mine)) as shown:
        for chunk in mine:
            numbers = store.lines_of(chunk)
            text, end = corpus.lines(numbers), shown.done + len(numbers)
            if _is_there(store, chunk, text):
                shown.skip(len(numbers))
                continue
            try:
                made = tokenizer(text, numbers, shown)
            except ValueError as error:
                raise ValueError(f"{corpus.path}: {error}") from None
            dropped = {line.index: line.reason for line in made.dropped}
            shown.reach(end)
            store.write(chunk, text, made.rows, ChunkReport(dropped, made.unknown))
            total += sum(map(len, made.rows))
            logging.info(
                "lines %d to %d: %d left out; %d units a second",
                numbers.start + 1,
                numbers.stop,
                len(dropped),
                total / (time.perf_counter() - started),
            )
    return total


def _open_store(
    task: Generation,
    corpus: TextCorpus,
    units: UnitVocabulary,
    frame_shift: float,
    made_with: dict[str, Any],
) -> UnitStore:
    """The store, made by the first of the jobs that comes here."""
    task.output.mkdir(parents=True, exist_ok=True)
    with (task.output / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        values = corpus, units, frame_shift, task.chunk_lines, made_with
        try:
            return UnitStore.create(task.output, *values)
        except OtherStore as other:
            if not task.replace:
                raise
            logging.warning("%s; it is removed", str(other).rpartition(";")[0])
            UnitStore.remove(task.output)
            return UnitStore.create(task.output, *values)


def _is_there(store: UnitStore, chunk: int, text: list[str]) -> bool:
    if not store.path(chunk).exists():
        return False
    try:
        store.check_chunk(chunk, text)
    except ChunkProblem as problem:
        logging.warning("generated again: %s", problem)
        return False
    return True


def finish(text: Path, output: Path) -> str:
    """Check that a store is complete; list what was left out of it in report.txt.

    Returns:
        The report's first line.

    Raises:
        ValueError: chunks are missing, or the store is of another text.
    """
    store = UnitStore(output)
    store.check(TextCorpus(text))
    everything, units = ChunkReport(), 0
    for chunk in progress(range(store.n_chunks), "chunks checked"):
        about = store.report(chunk)
        everything.dropped |= about.dropped
        everything.unknown += about.unknown
        units += store.count(chunk)
    times = everything.unknown.total()
    summary = (
        f"{store.lines} lines, {units} units; dropped: {len(everything.dropped)} lines; "
        f"unknown words: {len(everything.unknown)} ({times} times)"
    )
    rows = [summary, json.dumps(store.made_with), "", "dropped lines (from 1):"]
    rows += [f"{line + 1} {why}" for line, why in sorted(everything.dropped.items())]
    rows += ["", "unknown words:"]
    rows += [f"{word} {n}" for word, n in everything.unknown.most_common()]
    write_text(output / REPORT, "\n".join(rows) + "\n")
    return summary
