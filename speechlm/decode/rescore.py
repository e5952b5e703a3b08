"""N-best lists in another order: a second language model scores their sentences.

U utterances, N sentences of all their lists. The objective of a sentence is the search's, with one
score more; its parts are columns of `nbest.tsv` (`speechlm.decode.hypotheses`):

    acoustic + ngram_weight * ngram (log10) + neural_weight * neural (nats) + word_score * words

A neural model fills the column `neural`; a larger n-gram takes the place of the search's in
`ngram`. What was in the new scores' place before can be kept with a weight (`replaced_weight`).

Source: SpeechLM, section V-A, has a Transformer of words, weight 0.9 (nats) and word score -0.31,
in the beam search itself.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.kaldi_dir import read_table, show_ids
from speechlm.data.whole_files import read_json, reading
from speechlm.decode.hypotheses import (
    NBEST,
    TEXT,
    SearchReport,
    Sentence,
    read_nbest,
    write_hypotheses,
    write_nbest,
)
from speechlm.progress import Progress

LN10 = math.log(10.0)
AT_ONCE = 20_000
"""Sentences between two lines of the log."""
MOST_UNKNOWN = 0.5
"""Share of the words above which a model is one of other words."""


class Scorer(Protocol):
    """A language model of words."""

    def sentence_scores(self, sentences: Sequence[str]) -> np.ndarray:
        """(n,) natural logarithms of P(words, </s>)."""

    def unknown_words(self, sentences: Sequence[str]) -> int:
        """How many words of the sentences it does not know."""


@dataclass(frozen=True)
class Rescorer:
    """The second model."""

    scorer: Scorer
    column: str
    """Of the n-best lists that it fills: `neural` or `ngram`."""
    name: str
    """In search.json and tables: transformer, ngram4."""
    path: str
    """Where it is."""

    @property
    def unit(self) -> float:
        """Nats of the column's unit."""
        return LN10 if self.column == "ngram" else 1.0


@dataclass(frozen=True)
class RescoringWeights:
    """Of the parts of the objective.

    Raises:
        ValueError: a value that is not finite.
    """

    ngram_weight: float
    """Of log10 P by the n-gram."""
    neural_weight: float
    """Of ln P by the neural model."""
    word_score: float
    """Added for each word."""
    replaced_weight: float = 0.0
    """Of the score that the new one has replaced, in the same unit."""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}; a finite number expected")

    def vector(self) -> np.ndarray:
        """(4,) factors of `Lists.parts`."""
        return np.array(dataclasses.astuple(self))


@dataclass
class Lists:
    """N-best lists as arrays; those of an utterance are beside each other, best first."""

    ids: list[str]
    """U utterances, sorted; some may have no list."""
    starts: np.ndarray
    """(U + 1,) place of each utterance's first sentence."""
    texts: list[str]
    """N sentences."""
    acoustic: np.ndarray
    """(N,) natural logarithms."""
    parts: np.ndarray
    """(N, 4) ngram (log10), neural (nats), words, what was replaced; 0 where a column is empty."""
    columns: frozenset[str]
    """Which of `ngram` and `neural` are not empty."""

    @property
    def unlisted(self) -> list[str]:
        """Utterances without a sentence."""
        return [u for u, n in zip(self.ids, np.diff(self.starts), strict=True) if not n]

    def totals(self, weights: RescoringWeights) -> np.ndarray:
        """(N,) objective of each sentence."""
        return self.acoustic + self.parts @ weights.vector()

    def best(self, weights: RescoringWeights) -> tuple[np.ndarray, np.ndarray]:
        """Utterances that have a list (their numbers), and the place of each one's best sentence.

        Of equally good ones it is the one that the search has put first.
        """
        listed = np.flatnonzero(np.diff(self.starts))
        if not len(listed):
            return listed, listed
        totals, starts = self.totals(weights), self.starts[listed]
        # highest total of each list, beside each of its sentences; the first sentence that has it
        highest = np.repeat(np.maximum.reduceat(totals, starts), np.diff(self.starts)[listed])
        reached = np.flatnonzero(totals == highest)
        return listed, reached[np.searchsorted(reached, starts)]


def read_lists(folder: str | os.PathLike[str], ids: Collection[str] | None = None) -> Lists:
    """The n-best lists of a decoding, all or those of some utterances.

    Raises:
        ValueError: there are none, or they and the decoding's `text` are of other utterances.
    """
    path, text = Path(folder) / NBEST, read_table(Path(folder) / TEXT, empty=True)
    if not path.is_file():
        raise ValueError(f"{path} expected: decode_ctc --nbest 100 writes it")
    lists = read_nbest(path)
    wrong = sorted((set(ids) if ids is not None else lists.keys()) - text.keys())
    if wrong:
        raise ValueError(
            f"{Path(folder) / TEXT} lacks {len(wrong)} utterances ({show_ids(wrong)}); n-best "
            "lists of the same decoding expected"
        )
    return as_lists(lists, sorted(text if ids is None else ids), str(path))


def as_lists(lists: Mapping[str, Sequence[Sentence]], ids: Sequence[str], where: str) -> Lists:
    """Arrays of n-best lists.

    Raises:
        ValueError: a column has scores for some sentences only.
    """
    entries = [entry for utterance in ids for entry in lists.get(utterance, ())]
    columns = set()
    for name in ("ngram", "neural"):
        given = sum(getattr(entry, name) is not None for entry in entries)
        if 0 < given < len(entries):
            raise ValueError(
                f"{where}: {given} of {len(entries)} sentences have a score in column {name}; all "
                "or none expected; decode again"
            )
        if given:
            columns.add(name)
    return Lists(
        list(ids),
        np.cumsum([0, *(len(lists.get(utterance, ())) for utterance in ids)]),
        [entry.text for entry in entries],
        np.array([entry.acoustic for entry in entries], float),
        np.array(
            [(e.ngram or 0.0, e.neural or 0.0, float(e.words), 0.0) for e in entries], float
        ).reshape(-1, 4),
        frozenset(columns),
    )


def add_scores(lists: Lists, model: Rescorer) -> int:
    """Score all sentences, each different one once, and put the scores into their column.

    Returns:
        Number of words in different sentences that the model does not know.

    Raises:
        ValueError: a score is not finite (the sentence is named), or the model does not know most
            of the words, as one of another writing.
    """
    places: dict[str, int] = {}
    which = [places.setdefault(text, len(places)) for text in lists.texts]
    unique, found = list(places), np.empty(len(places))
    with Progress("sentences", len(unique)) as shown:
        for n in range(0, len(unique), AT_ONCE):
            some = unique[n : n + AT_ONCE]
            found[n : n + AT_ONCE] = model.scorer.sentence_scores(some)
            shown.advance(len(some))
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise ValueError(
            f"{model.path}: finite scores expected, got {found[bad[0]]} for {unique[bad[0]]!r} and "
            f"{len(bad) - 1} other sentences; is the model damaged, or without <unk>?"
        )
    column = ("ngram", "neural").index(model.column)
    lists.parts[:, 3] = lists.parts[:, column] if model.column in lists.columns else 0.0
    lists.parts[:, column] = found[which] / model.unit
    lists.columns |= {model.column}
    unknown = model.scorer.unknown_words(unique)
    words = sum(len(text.split()) for text in unique)
    logging.info("%d sentences, %d different ones", len(lists.texts), len(unique))
    if unknown > MOST_UNKNOWN * words:
        raise ValueError(
            f"{model.path} does not know {unknown} of {words} words, such as those of "
            f"{max(unique, key=len)[:60]!r}; a model of words in the same writing expected"
        )
    if unknown:
        logging.warning(
            "%d of the %d words of the different sentences are not known to %s: it scores them "
            "as <unk>",
            *(unknown, words, model.path),
        )
    return unknown


def search_weights(report: SearchReport, folder: str | os.PathLike[str]) -> RescoringWeights:
    """The weights that a decoding's n-best lists are sorted by.

    Raises:
        ValueError: it was a search without a word model.
    """
    values = report.weights
    try:
        if "ngram_weight" in values:  # rescored before
            lm_weights = values["ngram_weight"], values["neural_weight"]
        elif report.lm == "transformer":  # it was in the search: w * log10 P = (w / ln 10) * ln P
            lm_weights = 0.0, values["lm_weight"] / LN10
        else:
            lm_weights = values["lm_weight"], 0.0
        return RescoringWeights(*lm_weights, values["word_score"])
    except KeyError as error:
        raise ValueError(
            f"{folder}/search.json: a decoding with a word model expected, but {error} is not "
            f"among its weights ({', '.join(values) or 'none'})"
        ) from None


def read_rescoring(path: str | os.PathLike[str]) -> tuple[RescoringWeights, dict[str, Any]]:
    """Weights of a tuning (`weights.json` of tune_rescoring), and all that it holds.

    Raises:
        ValueError: the file is missing, damaged, or holds other values.
    """
    advice = "tune_rescoring makes it"
    values = read_json(path, "weights of rescoring", advice)
    with reading(path, "weights of rescoring", advice):
        names = [f.name for f in dataclasses.fields(RescoringWeights)]
        if not isinstance(values["column"], str):
            raise ValueError(f"column is {values['column']}")
        return RescoringWeights(**{name: float(values[name]) for name in names}), values


def check_tuned_for(
    tuned: Mapping[str, Any], model: Rescorer, report: SearchReport, path: str
) -> None:
    """Make sure that weights were tuned for such a model, and for such n-best lists.

    Raises:
        ValueError: they were not.
    """
    if tuned["column"] != model.column:
        raise ValueError(
            f"{path}: weights tuned for scores of kind {model.column} expected, as {model.path} "
            f"gives them, but they are for {tuned['column']} ({tuned.get('lm')})"
        )
    if tuned.get("lm") != model.path:
        logging.warning("%s was tuned with %s, not with %s", path, tuned.get("lm"), model.path)
    ours, theirs = report.weights.get("blank_score"), tuned.get("blank_score")
    if ours != theirs:
        raise ValueError(
            f"{path}: tuned on n-best lists with blank_score {theirs}, but these have {ours}, "
            "which is in their acoustic scores; decode both sets with the same weights"
        )


def rescore_set(
    folder: str | os.PathLike[str],
    model: Rescorer,
    weights: RescoringWeights,
    output: str | os.PathLike[str],
    samples: Mapping[str, int] | None = None,
) -> SearchReport:
    """Rescore the n-best lists of a decoding; writes a decoding's files into a folder.

    Args:
        folder: of decode_ctc with --nbest.
        model: the second model.
        weights: of the parts of the objective.
        output: for `text`, `nbest.tsv` and `search.json`.
        samples: utterances of this job, with their samples; None: all.

    Raises:
        ValueError: the lists are missing or damaged, or scores are not finite.
    """
    report = SearchReport.read(folder)
    start = time.process_time()
    lists = read_lists(folder, samples)
    unknown = add_scores(lists, model)
    entries = ranked(lists, lists.totals(weights))
    seconds = time.process_time() - start
    old = read_table(Path(folder) / TEXT, empty=True)
    text = {u: entries[u][0].text if u in entries else old[u] for u in lists.ids}
    write_hypotheses(Path(output) / TEXT, text)
    write_nbest(Path(output) / NBEST, entries)
    after = _report(report, lists, samples, seconds)
    kept = {name: report.weights[name] for name in ("blank_score",) if name in report.weights}
    after.lm, after.weights = model.name, {**dataclasses.asdict(weights), **kept}
    after.graph = {**report.graph, "rescored_by": model.path}
    after.unknown_words, after.unlisted = unknown, lists.unlisted
    after.write(output)
    _log(after)
    return after


def ranked(lists: Lists, totals: np.ndarray) -> dict[str, list[Sentence]]:
    """Sentences of each utterance by falling totals; utterances without any are not in it."""
    found: dict[str, list[Sentence]] = {}
    for utterance, start, end in zip(lists.ids, lists.starts[:-1], lists.starts[1:], strict=True):
        order = start + np.argsort(-totals[start:end], kind="stable")
        entries = [_sentence(lists, int(n), float(totals[n])) for n in order]
        if entries:
            found[utterance] = entries
    return found


def _sentence(lists: Lists, n: int, total: float) -> Sentence:
    ngram, neural = (float(value) for value in lists.parts[n, :2])
    return Sentence(
        lists.texts[n],
        total,
        float(lists.acoustic[n]),
        ngram if "ngram" in lists.columns else None,
        neural if "neural" in lists.columns else None,
    )


def _report(
    report: SearchReport, lists: Lists, samples: Mapping[str, int] | None, seconds: float
) -> SearchReport:
    """The search's report for these utterances, with the seconds of rescoring."""
    if samples is None:
        return replace(report, search_seconds=report.search_seconds + seconds)
    audio = sum(samples.values()) / SAMPLE_RATE
    share = audio / max(report.audio_seconds, 1e-9)
    return replace(
        report,
        utterances=len(samples),
        audio_seconds=audio,
        search_seconds=report.search_seconds * share + seconds,
        unfinished=[u for u in report.unfinished if u in samples],
        empty=[u for u in report.empty if u in samples],
    )


def _log(report: SearchReport) -> None:
    logging.info(
        "%d utterances, %.1f s of audio; search and rescoring: %.2f CPU s, real-time factor %.4f",
        *(report.utterances, report.audio_seconds, report.search_seconds),
        report.real_time_factor,
    )
    for ids, what in (
        (report.unfinished, "ended without a final state: their last word may be cut off"),
        (report.unlisted, "have no n-best list: their hypothesis stays as it was"),
    ):
        if ids:
            logging.warning("%d utterances %s: %s", len(ids), what, show_ids(ids))
