"""Word errors of a held-out set for weights of decoding, by one or several processes.

N utterances, T frames, V characters.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType

import kaldialign
import numpy as np

from speechlm.data.kaldi_dir import DataDir, show_ids
from speechlm.decode.ctc_search import Weights
from speechlm.decode.decode_set import Search
from speechlm.decode.emissions import Emissions
from speechlm.progress import Progress

FEWEST_WORDS = 100
"""Words of references below which nothing is tuned."""
MOST_UNKNOWN = 2.0
"""Percent of words outside of the graph above which a closed list of words does harm."""


@dataclass(frozen=True)
class DevSet:
    """Utterances to tune on."""

    source: str
    """The data directory."""
    references: list[list[str]]
    """Words of N utterances."""
    emissions: list[np.ndarray]
    """N matrices (T, V) of log-probabilities."""

    @property
    def words(self) -> int:
        """Words of the references."""
        return sum(map(len, self.references))


def read_dev(data: DataDir, source: str, emissions: str, max_utterances: int) -> DevSet | None:
    """The utterances to tune on, evenly chosen where there are more than `max_utterances`.

    Returns:
        None, and says so, if there are no transcripts, or too few words in them.

    Raises:
        ValueError: utterances without emissions, or with such as are not finite.
    """
    text = data.text or {}
    ids = [utterance for utterance in data.ids if text.get(utterance, "").split()]
    words = sum(len(text[utterance].split()) for utterance in ids)
    if words < FEWEST_WORDS:
        logging.warning(
            "%s: %d words of transcripts, %d or more expected to tune weights with: they stay as "
            "given, or the paper's",
            *(source, words, FEWEST_WORDS),
        )
        return None
    if len(ids) < len(data):
        logging.warning("%s: %d of %d have no transcript", source, len(data) - len(ids), len(data))
    if len(ids) > max_utterances:
        logging.info("%d of %d utterances are used, evenly chosen", max_utterances, len(ids))
        ids = [ids[n * len(ids) // max_utterances] for n in range(max_utterances)]
    samples = data.samples()
    archive = Emissions(emissions, {u: samples[u] for u in ids})
    return DevSet(source, [text[u].split() for u in ids], [archive[u] for u in ids])


def check_vocabulary(dev: DevSet, known: Collection[str], graph: str) -> float:
    """Percent of the references' words that the search cannot write; warned of above 2.

    Raises:
        ValueError: most of them are unknown, as in transcripts of another writing.
    """
    count = Counter(word for reference in dev.references for word in reference)
    unknown = [word for word, _ in count.most_common() if word not in known]
    share = 100.0 * sum(count[word] for word in unknown) / max(dev.words, 1)
    logging.info("%.2f %% of %d words are not in %s", share, dev.words, graph)
    if share > 50:
        examples = sorted(word for word in known if word[0] not in "<#")[:5]
        raise ValueError(
            f"{dev.source}: words of {graph} expected, such as {' '.join(examples)}; {share:.0f} % "
            f"are others, such as {' '.join(unknown[:5])}; are they written in another way?"
        )
    if share > MOST_UNKNOWN:
        logging.warning(
            "%.1f %% of the words of %s cannot be found, as they are not in %s (%s); where greedy "
            "decoding is better than that, a larger word list is needed",
            *(share, dev.source, graph, show_ids(unknown)),
        )
    return share


@dataclass(frozen=True)
class Outcome:
    """What weights give."""

    counts: np.ndarray
    """(N, 3) substitutions, deletions, insertions of each utterance."""
    words: int
    """Words of the references."""
    written: Counter[str]
    """How often each word is written."""
    unfinished: int
    """Utterances whose search reached no final state."""
    seconds: float
    """CPU seconds."""

    @property
    def errors(self) -> int:
        """All errors."""
        return int(self.counts.sum())

    @property
    def wer(self) -> float:
        """Percent of the references' words."""
        return 100.0 * self.errors / self.words

    def row(self) -> tuple[int, int, int]:
        """Substitutions, deletions, insertions."""
        substitutions, deletions, insertions = self.counts.sum(0).tolist()
        return substitutions, deletions, insertions


class DevErrors:
    """Errors by weights; a point is decoded once. To be used in a `with` block.

    Args:
        search: the search.
        dev: the utterances.
        nj: processes. Results do not depend on it: they share the utterances out, and the graph.
    """

    def __init__(self, search: Search, dev: DevSet, nj: int = 1) -> None:
        self.dev, self.points = dev, dict[Weights, Outcome]()
        self._search, self._nj = search, min(nj, len(dev.references))
        self._pool: ProcessPoolExecutor | None = None
        self._shown: Progress | None = None

    def __enter__(self) -> DevErrors:
        # Forked processes share the graph's and the emissions' memory; nothing is sent to them
        # but weights and numbers.
        self._shown = Progress("weights tried")
        if self._nj > 1:
            self._pool = ProcessPoolExecutor(
                self._nj,
                multiprocessing.get_context("fork"),
                initializer=_share,
                initargs=(self._search, self.dev),
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            self._shown.close()
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def __call__(self, weights: Weights) -> int:
        """Number of errors."""
        if weights not in self.points:
            outcome = self.points[weights] = self._decode(weights)
            if self._shown:
                self._shown.advance(more=f"WER {outcome.wer:.2f} %")
            logging.info(
                "lm_weight %g, word_score %g, blank_score %g: WER %.2f %% (%d sub, %d del, %d ins)",
                *(weights.lm_weight, weights.word_score, weights.blank_score),
                *(outcome.wer, *outcome.row()),
            )
        return self.points[weights].errors

    def _decode(self, weights: Weights) -> Outcome:
        parts = [range(n, len(self.dev.references), self._nj) for n in range(self._nj)]
        if self._pool is None:
            found = [_decode(self._search, self.dev, weights, part) for part in parts]
        else:
            try:
                found = list(self._pool.map(_decode_shared, [weights] * len(parts), parts))
            except BrokenProcessPool:
                raise ChildProcessError(
                    f"a process of {self._nj} was ended while it decoded; is there memory enough "
                    "for so many? --nj 1 needs least"
                ) from None
        counts = np.zeros((len(self.dev.references), 3), np.int64)
        for part, outcome in zip(parts, found, strict=True):
            counts[part] = outcome.counts
        written = sum((outcome.written for outcome in found), Counter[str]())
        unfinished = sum(outcome.unfinished for outcome in found)
        seconds = sum(outcome.seconds for outcome in found)
        return Outcome(counts, self.dev.words, written, unfinished, seconds)


_shared: tuple[Search, DevSet]


def _share(search: Search, dev: DevSet) -> None:
    global _shared
    _shared = search, dev


def _decode_shared(weights: Weights, part: range) -> Outcome:
    return _decode(*_shared, weights, part)


def _decode(search: Search, dev: DevSet, weights: Weights, part: range) -> Outcome:
    """Decode some of the utterances."""
    start, counts, unfinished = time.process_time(), [], 0
    written: Counter[str] = Counter()
    for n in part:
        words: list[str] = []
        if len(dev.emissions[n]):
            found = search.decode(dev.emissions[n], weights)
            words = list(found.words)
            unfinished += not found.complete
        errors = kaldialign.edit_distance(dev.references[n], words)
        counts.append([errors["sub"], errors["del"], errors["ins"]])
        written.update(words)
    seconds = time.process_time() - start
    return Outcome(np.array(counts), dev.words, written, unfinished, seconds)
