"""Whether two results on the same sentences differ: intervals, a paired test, sentences.

A metric is a function of sums over sentences (errors and words; n-gram matches and lengths), so
that a resampled corpus is scored from a weighted sum. N sentences, S statistics, R resamples.

Sources: percentile bootstrap (Koehn 2004 for BLEU, Bisani and Ney 2004 for error rates);
approximate randomisation (Riezler and Maxwell 2005).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import kaldialign
import numpy as np
from sacrebleu.metrics import CHRF
from sacrebleu.metrics.base import Metric as SacreBLEUMetric

from speechlm.data.kaldi_dir import read_table, show_ids
from speechlm.score.error_rate import characters, check_same_utterances
from speechlm.score.markdown import code, escape, markdown_table
from speechlm.score.sentences import SENTENCES, Sentence, read_figures, read_sentences
from speechlm.score.translation import KIND, bleu_metric, read_translation_scores

_CHUNK = 64  # resamples at a time


@dataclass(frozen=True)
class Result:
    """One system's sentences on a test set."""

    name: str
    kind: str
    """asr or st."""
    sentences: dict[str, Sentence]
    tokenizer: str | None = None
    """sacreBLEU's, for BLEU; None: its default."""


@dataclass(frozen=True)
class Metric:
    """A score of a corpus."""

    name: str
    statistics: Callable[[list[Sentence]], np.ndarray]
    """(N, S) of N sentences."""
    score: Callable[[np.ndarray], np.ndarray]
    """Of (R, S) sums: (R,)."""
    sentence: Callable[[np.ndarray], np.ndarray]
    """(N, S) -> (N,), what is shown of single sentences."""


@dataclass(frozen=True)
class Comparison:
    """Two systems under one metric."""

    metric: str
    scores: tuple[float, float]
    intervals: tuple[tuple[float, float], tuple[float, float]]
    """Of 95 %."""
    difference: tuple[float, float]
    """95 % interval of B - A over the same resampled sentences."""
    p_value: float
    """Probability of a difference as large if the two were exchangeable."""


def read_result(path: str | os.PathLike[str], ref: str | None, kind: str | None) -> Result:
    """A folder that `score` or `score_st` wrote (or that has it as `score`), or a text file.

    Args:
        path: the folder; or Kaldi text with hypotheses, which needs `ref` and `kind`.
        ref: Kaldi text with references.
        kind: asr or st.

    Raises:
        ValueError: it is neither, or hypotheses and references are of different utterances.
    """
    folder = Path(path)
    for place in (folder, folder / "score"):
        if (place / SENTENCES).is_file():
            return _read_scores(place, str(path))
    text = folder / "text" if folder.is_dir() else folder
    if not text.is_file():
        raise ValueError(f"{path}: a folder with {SENTENCES} or text, or a text file, expected")
    if ref is None or kind is None:
        raise ValueError(f"{text} holds hypotheses only: --ref and --kind are needed as well")
    references, hypotheses = read_table(ref, empty=True), read_table(text, empty=True)
    try:
        check_same_utterances(references, hypotheses)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
    sentences = {u: Sentence(references[u], hypotheses[u]) for u in sorted(references)}
    return Result(str(path), kind, sentences)


def check_comparable(a: Result, b: Result) -> None:
    """Make sure that both results are of the same references.

    Raises:
        ValueError: they are not; the utterances are named.
    """
    if (a.kind, a.tokenizer) != (b.kind, b.tokenizer):
        raise ValueError(f"{a.name} is {a.kind} ({a.tokenizer}), {b.name} {b.kind} ({b.tokenizer})")
    odd = {
        f"only {a.name} has": sorted(a.sentences.keys() - b.sentences.keys()),
        f"only {b.name} has": sorted(b.sentences.keys() - a.sentences.keys()),
    }
    if any(odd.values()):
        what = "; ".join(f"{w} {len(ids)}: {show_ids(ids)}" for w, ids in odd.items() if ids)
        raise ValueError(f"the two results are of different utterances: {what}")
    other = [u for u in a.sentences if a.sentences[u].reference != b.sentences[u].reference]
    if other:
        raise ValueError(f"{len(other)} utterances have different references: {show_ids(other)}")


def metrics_of(kind: str, tokenizer: str | None = None) -> list[Metric]:
    """WER and CER of asr; BLEU and chrF of st."""
    if kind == "asr":
        return [_error_rate("WER", str.split), _error_rate("CER", characters)]
    return [_sacrebleu("BLEU", bleu_metric("", tokenizer)), _sacrebleu("chrF", CHRF())]


def compare(a: Result, b: Result, metric: Metric, n_samples: int, seed: int) -> Comparison:
    """Scores with intervals, and the probability that their difference is chance."""
    statistics = np.stack([statistics_of(r, metric) for r in (a, b)])
    _, (found,) = compare_pairs(statistics, [(0, 1)], metric, n_samples, seed)
    return found


def statistics_of(result: Result, metric: Metric) -> np.ndarray:
    """(N, S) of the sentences of a result, in the order of their ids."""
    return metric.statistics([result.sentences[u] for u in sorted(result.sentences)])


def compare_pairs(
    statistics: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    metric: Metric,
    n_samples: int,
    seed: int,
) -> tuple[list[tuple[float, tuple[float, float]]], list[Comparison]]:
    """Score K systems on the same sentences, and compare some of them, all on the same draws.

    Args:
        statistics: (K, N, S), of `statistics_of`.
        pairs: (A, B), numbers of systems.
        metric: what the statistics are of.
        n_samples: resamples of the sentences, and as many of exchanged systems.
        seed: of both.

    Returns:
        Score and 95 % interval of each system; a comparison for each pair.
    """
    rng = np.random.default_rng(seed)
    n_systems, count, size = statistics.shape
    sums = statistics.sum(1)
    scores = metric.score(sums)
    # (N, K S) and (N, P S): a row a sentence, so that a resample is a product
    flat = statistics.transpose(1, 0, 2).reshape(count, -1)
    first, second = np.array(pairs, int).reshape(-1, 2).T
    changes = (statistics[second] - statistics[first]).transpose(1, 0, 2).reshape(count, -1)
    actual = np.abs(scores[second] - scores[first])
    drawn, extreme = [], np.zeros(len(pairs), int)
    for chunk in chunks(n_samples):
        # Bootstrap: N draws of sentences with replacement, times (chunk, N) counting how often each
        # is drawn. All systems get the same draws, so that the interval of a difference is paired.
        times = rng.multinomial(count, np.full(count, 1 / count), chunk)
        drawn.append(scores_of_sums(metric, (times @ flat).reshape(chunk, n_systems, size)))
        # Randomisation: if the systems were alike, it would not matter which of the two a sentence
        # is from. Swapping each with probability 1/2 moves sum_swapped (b - a) from B to A.
        moved = ((rng.random((chunk, count)) < 0.5) @ changes).reshape(chunk, len(pairs), size)
        swapped = scores_of_sums(metric, sums[second] - moved) - scores_of_sums(
            metric, sums[first] + moved
        )
        extreme += (np.abs(swapped) >= actual - 1e-9).sum(0)
    resampled = np.concatenate(drawn)
    rows = [(float(s), interval(r)) for s, r in zip(scores, resampled.T, strict=True)]
    found = [
        Comparison(
            metric.name,
            (rows[a][0], rows[b][0]),
            (rows[a][1], rows[b][1]),
            interval(resampled[:, b] - resampled[:, a]),
            # + 1: the result as it is counts as one of the swapped ones
            float((n + 1) / (n_samples + 1)),
        )
        for (a, b), n in zip(pairs, extreme, strict=True)
    ]
    return rows, found


def scores_of_sums(metric: Metric, sums: np.ndarray) -> np.ndarray:
    """(R, K, S) sums -> (R, K)."""
    return metric.score(sums.reshape(-1, sums.shape[-1])).reshape(sums.shape[:-1])


def most_different(
    a: Result, b: Result, metric: Metric, count: int
) -> list[tuple[str, float, float]]:
    """(utterance, A's, B's value) of the sentences that differ most."""
    ids = sorted(a.sentences)
    one, other = (metric.sentence(statistics_of(result, metric)) for result in (a, b))
    order = sorted(range(len(ids)), key=lambda i: -abs(other[i] - one[i]))
    return [(ids[i], float(one[i]), float(other[i])) for i in order[:count] if one[i] != other[i]]


def comparison_table(a: Result, b: Result, found: list[Comparison]) -> str:
    """A Markdown table, one row a metric."""
    rows = []
    for c in found:
        cells = [
            f"{score:.2f} [{low:.2f}, {high:.2f}]"
            for score, (low, high) in zip(c.scores, c.intervals, strict=True)
        ]
        low, high = c.difference
        cells.append(f"{c.scores[1] - c.scores[0]:+.2f} [{low:+.2f}, {high:+.2f}]")
        rows.append([c.metric, *cells, f"{c.p_value:.4f}"])
    head = [f"A: {code(a.name)}", f"B: {code(b.name)}", f"{len(a.sentences)} sentences", ""]
    return "\n".join([*head, markdown_table(("metric", "A", "B", "B - A", "p"), rows)])


def differences_text(
    a: Result, b: Result, metric: Metric, found: list[tuple[str, float, float]]
) -> str:
    """The sentences that differ most, each with its reference."""
    blocks = []
    for utterance, one, other in found:
        first, second = a.sentences[utterance], b.sentences[utterance]
        blocks.append(
            f"{escape(utterance)}\n\n- reference: {escape(first.reference)}\n"
            f"- A ({one:.1f}): {escape(first.hypothesis)}\n"
            f"- B ({other:.1f}): {escape(second.hypothesis)}\n"
        )
    what = "errors" if metric.name == "WER" else metric.name
    return f"## Sentences that differ most ({what})\n\n" + "\n".join(blocks)


def _read_scores(folder: Path, name: str) -> Result:
    sentences = read_sentences(folder / SENTENCES)
    if not sentences:
        raise ValueError(f"{folder / SENTENCES} has no sentence")
    if KIND in read_figures(folder):
        return Result(name, "st", sentences, read_translation_scores(folder).tokenizer)
    return Result(name, "asr", sentences)


def _error_rate(name: str, tokens: Callable[[str], list[str]]) -> Metric:
    def statistics(sentences: list[Sentence]) -> np.ndarray:
        rows = []
        for sentence in sentences:
            reference, hypothesis = tokens(sentence.reference), tokens(sentence.hypothesis)
            errors = kaldialign.edit_distance(reference, hypothesis)["total"]
            rows.append((errors, len(reference)))
        return np.array(rows, np.int64)

    def rate(sums: np.ndarray) -> np.ndarray:
        return 100 * sums[:, 0] / np.maximum(1, sums[:, 1])

    return Metric(name, statistics, rate, lambda counts: counts[:, 0])


def _sacrebleu(name: str, metric: SacreBLEUMetric) -> Metric:
    def statistics(sentences: list[Sentence]) -> np.ndarray:
        written = [sentence.hypothesis for sentence in sentences]
        expected = [sentence.reference for sentence in sentences]
        return np.array(metric._extract_corpus_statistics(written, [expected]), np.int64)

    def score(sums: np.ndarray) -> np.ndarray:
        return np.array([metric._compute_score_from_stats(row).score for row in sums.tolist()])

    return Metric(name, statistics, score, score)


def chunks(total: int) -> list[int]:
    """Sizes of the parts in which so many resamples are drawn."""
    return [min(_CHUNK, total - first) for first in range(0, total, _CHUNK)]


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % in the middle of resampled values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
