"""Rates of one run's results with intervals over utterances, as pictures take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechlm.score import compare
from speechlm.score.recognition_report import Scored
from speechlm.score.seeds import Rate


def rates_of_run(results: Sequence[Scored], resamples: int, seed: int) -> list[Rate]:
    """Rates of results on one test set, with the intervals that the report has.

    Args:
        results: of recognition, or of translation.
        resamples: of the bootstrap.
        seed: of its draws.

    Raises:
        ValueError: there are none, they are of several test sets or of different utterances, or
            scores are damaged.
    """
    tests = sorted({result.test for result in results})
    if len(tests) != 1:
        raise ValueError(f"results of one test set expected, got those of {' '.join(tests) or '-'}")
    read = [compare.read_result(result.folder, None, None) for result in results]
    for other in read[1:]:
        compare.check_comparable(read[0], other)
    rates = []
    for metric in compare.metrics_of(read[0].kind, read[0].tokenizer):
        statistics = np.stack([compare.statistics_of(result, metric) for result in read])
        scores, _ = compare.compare_pairs(statistics, [], metric, resamples, seed)
        for result, (score, interval) in zip(results, scores, strict=True):
            name = (result.system, result.decoder)
            rates.append(Rate(name, result.test, metric.name, {None: score}, interval))
    return rates
