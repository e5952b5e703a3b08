"""What a decoding leaves: hypotheses, n-best lists, and how they were found; jobs put together."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechlm.data.atomic import output_file, write_text
from speechlm.data.encoding import text_lines
from speechlm.data.kaldi_dir import read_table, show_ids
from speechlm.data.whole_files import read_json

TEXT, NBEST, SEARCH = "text", "nbest.tsv", "search.json"
"""Files of a decoding's folder; greedy decoding has no n-best lists."""
COLUMNS = ("id", "rank", "total", "acoustic", "ngram", "neural", "words", "text")


@dataclass(frozen=True)
class Sentence:
    """An entry of an n-best list."""

    text: str
    total: float
    """What the list is sorted by, highest first."""
    acoustic: float
    """Natural log, blank scores included."""
    ngram: float | None
    """Log10 of the n-gram model's probability."""
    neural: float | None = None
    """Natural log of a neural model's probability."""

    @property
    def words(self) -> int:
        """Number of words."""
        return len(self.text.split())


@dataclass
class SearchReport:
    """How a set was decoded; `search.json`."""

    search: str
    """greedy, graph or flashlight."""
    lm: str = "none"
    """none, ngram or transformer."""
    weights: dict[str, float] = field(default_factory=dict)
    beam: dict[str, float] = field(default_factory=dict)
    graph: dict[str, Any] = field(default_factory=dict)
    """Word model and lexicon."""
    utterances: int = 0
    audio_seconds: float = 0.0
    search_seconds: float = 0.0
    """CPU seconds, without the network's."""
    unfinished: list[str] = field(default_factory=list)
    """Utterances whose search reached no final state."""
    empty: list[str] = field(default_factory=list)
    """Utterances without a frame, whose hypothesis is empty."""
    unlisted: list[str] = field(default_factory=list)
    """Rescoring: utterances without an n-best list, whose hypothesis is the search's."""
    unknown_words: int = 0
    """Rescoring: words of different sentences that the second model scored as `<unk>`."""

    @property
    def real_time_factor(self) -> float:
        """CPU seconds of the search for a second of audio."""
        return self.search_seconds / max(self.audio_seconds, 1e-9)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write `search.json`."""
        values = dataclasses.asdict(self) | {"real_time_factor": round(self.real_time_factor, 9)}
        values["search_seconds"] = round(self.search_seconds, 6)
        values["audio_seconds"] = round(self.audio_seconds, 3)
        write_text(Path(folder) / SEARCH, json.dumps(values, indent=1) + "\n")

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> SearchReport:
        """Read `search.json`.

        Raises:
            ValueError: it is missing, or not one.
        """
        path = Path(folder) / SEARCH
        values = read_json(path, "report of a search", "decode_ctc makes it")
        names = [f.name for f in dataclasses.fields(cls)]
        missing = [name for name in names if name not in values]
        if missing:
            raise ValueError(f"{path}: {', '.join(missing)} expected; decode again")
        for name, value in dataclasses.asdict(cls("")).items():
            kinds: tuple[type, ...] = (
                (int, float) if isinstance(value, int | float) else (type(value),)
            )
            if not isinstance(values[name], kinds):
                raise ValueError(f"{path}: {name} is {values[name]!r:.40}; decode again")
        for name, value in values["weights"].items():
            if not isinstance(value, int | float):
                raise ValueError(f"{path}: {name} is {value!r:.40}; decode again")
        return cls(**{name: values[name] for name in names})

    def add(self, other: SearchReport) -> None:
        """Count another job of the same decoding too.

        Raises:
            ValueError: it was decoded in another way.
        """
        same = ("search", "lm", "weights", "beam", "graph")
        for name in same:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise ValueError(f"jobs of different decodings: {name} is {ours} and {theirs}")
        for name in (f.name for f in dataclasses.fields(self) if f.name not in same):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def write_hypotheses(path: Path, text: Mapping[str, str]) -> None:
    """Write `id words` lines in the order of the C locale; an empty hypothesis is the id alone."""
    with output_file(path) as temporary:
        lines = (f"{utterance} {text[utterance]}".rstrip() + "\n" for utterance in sorted(text))
        temporary.write_text("".join(lines), encoding="utf-8")


def write_nbest(path: Path, lists: Mapping[str, Sequence[Sentence]]) -> None:
    """Write n-best lists, a sentence a line, under a line of `COLUMNS`."""
    with output_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("\t".join(COLUMNS) + "\n")
        for utterance in sorted(lists):
            for rank, entry in enumerate(lists[utterance], 1):
                scores = (entry.total, entry.acoustic, entry.ngram, entry.neural)
                shown = ("" if score is None else f"{score:.4f}" for score in scores)
                row = (utterance, str(rank), *shown, str(entry.words), entry.text)
                file.write("\t".join(row) + "\n")


def read_nbest(path: str | os.PathLike[str]) -> dict[str, list[Sentence]]:
    """N-best lists by utterance, best first.

    Raises:
        ValueError: the file is missing or of other columns, sentences are missing, twice there or
            not sorted by their ranks, or a line is cut off or damaged: its scores are no finite
            numbers, or its text has another number of words than it says.
    """
    lists: dict[str, list[Sentence]] = {}
    for number, utterance, rank, sentence in _nbest_rows(path):
        entries = lists.setdefault(utterance, [])
        entries.append(sentence)
        if rank != len(entries):
            raise ValueError(
                f"{path}:{number}: rank {len(entries)} of {utterance} expected, got {rank}; decode "
                "again"
            )
    return lists


def _nbest_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, str, int, Sentence]]:
    """(line, utterance, rank, sentence)."""
    lines = text_lines(path)
    if tuple(next(lines, (0, ""))[1].split("\t")) != COLUMNS:
        raise ValueError(f"{path}: a first line of {' '.join(COLUMNS)} expected; decode again")
    for number, line in lines:
        fields = line.split("\t")
        try:
            utterance, rank, *scores, words, text = fields
            total, acoustic, ngram, neural = (float(s) if s else None for s in scores)
            if total is None or acoustic is None:
                raise ValueError
            # an order by scores that are not finite would take any sentence, and a line that is cut
            # off has fewer words than it says
            finite = all(
                math.isfinite(s) for s in (total, acoustic, ngram, neural) if s is not None
            )
            if not utterance or not finite or int(words) != len(text.split()):
                raise ValueError
            row = (number, utterance, int(rank), Sentence(text, total, acoustic, ngram, neural))
        except ValueError:
            raise ValueError(
                f"{path}:{number}: {' '.join(COLUMNS)} expected, with finite scores and the number "
                f"of words in the text, got {line[:80]!r}"
            ) from None
        yield row


def merge_hypotheses(folders: Iterable[str], output: str | os.PathLike[str]) -> int:
    """Join the results of several jobs, sorted; returns the number of utterances.

    Their `text`, and `nbest.tsv` and `search.json` where they have them.

    Raises:
        ValueError: a job has left nothing, or ids that another one has too.
    """
    parts = [Path(folder) for folder in folders]
    merged: dict[str, str] = {}
    for folder in parts:
        path = folder / TEXT
        if not path.is_file():
            raise ValueError(f"{path} expected, but it is not there; has this job failed?")
        found = read_table(path, empty=True)
        double = sorted(found.keys() & merged.keys())
        if double:
            raise ValueError(f"{path}: ids that another job has too: {show_ids(double)}")
        merged |= found
    write_hypotheses(Path(output) / TEXT, merged)
    if (parts[0] / NBEST).exists():
        lists = {u: entries for f in parts for u, entries in read_nbest(f / NBEST).items()}
        write_nbest(Path(output) / NBEST, lists)
    if (parts[0] / SEARCH).exists():
        report = SearchReport.read(parts[0])
        for folder in parts[1:]:
            report.add(SearchReport.read(folder))
        report.write(output)
    return len(merged)
