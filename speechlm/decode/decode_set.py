"""A set of utterances decoded from their emissions: greedily, or with a word model."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.kaldi_dir import DataDir, show_ids
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode.ctc_greedy import greedy
from speechlm.decode.emissions import Emissions
from speechlm.decode.hypotheses import (
    NBEST,
    TEXT,
    SearchReport,
    Sentence,
    write_hypotheses,
    write_nbest,
)
from speechlm.progress import progress

if TYPE_CHECKING:  # greedy decoding needs no search, and none of the packages of one
    from speechlm.decode.ctc_search import Entry, Found, Weights

LN10 = math.log(10.0)


class Search(Protocol):
    """A search of emissions with a word model."""

    def decode(self, emissions: np.ndarray, weights: Weights) -> Found:
        """The best sentence of (T, V) log-probabilities."""

    def nbest(self, emissions: np.ndarray, weights: Weights, n: int) -> tuple[list[Entry], bool]:
        """The N best different sentences, best first, and whether they are complete."""


@dataclass(frozen=True)
class WithModel:
    """A search and its weights."""

    search: Search
    weights: Weights
    nbest: int = 1
    """Length of n-best lists; 1: none are kept."""
    neural: bool = False
    """Whether the word model of the search is a neural one."""


def decode_set(
    emissions: str | os.PathLike[str],
    data: DataDir,
    output: str | os.PathLike[str],
    report: SearchReport,
    model: WithModel | None = None,
) -> SearchReport:
    """Decode all utterances of a data directory; writes `text`, `search.json`, `nbest.tsv`.

    Args:
        emissions: folder of their emissions.
        data: with utt2num_samples.
        output: folder.
        report: what is known of the search; the counts are added.
        model: None: greedily.

    Raises:
        ValueError: utterances without emissions, or with such as are not finite.
    """
    samples = data.samples()
    archive = Emissions(emissions, samples)
    text: dict[str, str] = {}
    lists: dict[str, list[Sentence]] = {}
    decode = _decoder(model, lists, report)
    if model:  # what is compiled or read at first use is not the search's time
        model.search.nbest(np.zeros((1, CharacterVocabulary.n_ids), np.float32), model.weights, 2)
    for utterance in progress(samples, "utterances"):
        found = archive[utterance]
        start = time.process_time()
        if not len(found):
            report.empty.append(utterance)
        text[utterance] = decode(utterance, found) if len(found) else ""
        report.search_seconds += time.process_time() - start
    report.utterances = len(samples)
    report.audio_seconds = sum(samples.values()) / SAMPLE_RATE
    write_hypotheses(Path(output) / TEXT, text)
    if model and model.nbest > 1:
        write_nbest(Path(output) / NBEST, lists)
    report.write(output)
    _log(report)
    return report


def _decoder(
    model: WithModel | None, lists: dict[str, list[Sentence]], report: SearchReport
) -> Callable[[str, np.ndarray], str]:
    """What makes text of an utterance's emissions; n-best lists and unfinished ones are noted."""
    if model is None:
        return lambda utterance, emissions: greedy(emissions)

    def decode(utterance: str, emissions: np.ndarray) -> str:
        if model.nbest > 1:
            entries, complete = model.search.nbest(emissions, model.weights, model.nbest)
            lists[utterance] = [as_sentence(entry, model) for entry in entries]
            text = lists[utterance][0].text if entries else ""
        else:
            found = model.search.decode(emissions, model.weights)
            text, complete = " ".join(found.words), found.complete
        if not complete:
            report.unfinished.append(utterance)
        return text

    return decode


def as_sentence(entry: Entry, model: WithModel) -> Sentence:
    """An entry as it is written; a neural model's score is in nats, in a column of its own."""
    text, total = " ".join(entry.words), entry.total(model.weights)
    if model.neural:
        return Sentence(text, total, entry.acoustic, None, LN10 * entry.ngram)
    return Sentence(text, total, entry.acoustic, entry.ngram)


def _log(report: SearchReport) -> None:
    logging.info(
        "%d utterances, %.1f s of audio; search: %.2f CPU s, real-time factor %.4f",
        *(report.utterances, report.audio_seconds, report.search_seconds),
        report.real_time_factor,
    )
    for ids, what in (
        (report.unfinished, "ended without a final state: their last word may be cut off"),
        (report.empty, "have no frame: their hypothesis is empty"),
    ):
        if ids:
            logging.warning("%d utterances %s: %s", len(ids), what, show_ids(ids))
