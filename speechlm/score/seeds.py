"""The same systems trained with several seeds: means over them, intervals, differences.

N utterances, S statistics of each, R results (a system, a decoder, a seed), K seeds, n resamples.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.score import compare
from speechlm.score.compare import Metric, chunks, interval, scores_of_sums
from speechlm.score.recognition_report import GREEDY
from speechlm.score.report import KINDS
from speechlm.score.sentences import SENTENCES

_LEVEL = 0.05  # of the tests
Name = tuple[str, str]
"""System and decoder."""


@dataclass(frozen=True)
class Trained:
    """What one training, decoded in one way, wrote on a test set."""

    system: str
    decoder: str
    test: str
    seed: int | None
    """None: it has none, such as the phone recogniser, which all trainings share."""
    folder: Path
    """Of its scores."""

    @property
    def name(self) -> Name:
        """System and decoder."""
        return self.system, self.decoder


@dataclass(frozen=True)
class Rate:
    """A metric of a system and decoder over its seeds."""

    name: Name
    test: str
    metric: str
    by_seed: Mapping[int | None, float]
    interval: tuple[float, float]
    """Of the mean, 95 %: see `over_seeds`."""

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean([*self.by_seed.values()]))

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None for fewer than two."""
        values = [*self.by_seed.values()]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True)
class Difference:
    """B - A of two systems, over the seeds that both have."""

    a: Name
    b: Name
    test: str
    metric: str
    by_seed: Mapping[int | None, float]
    interval: tuple[float, float]
    """Of the mean, 95 %: see `over_seeds`."""
    p_value: float
    """See `chance`."""

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean([*self.by_seed.values()]))

    @property
    def agreeing(self) -> int:
        """Seeds whose difference has the sign of the mean."""
        return sum(value * self.mean > 0 for value in self.by_seed.values())

    @property
    def verdict(self) -> str:
        """What B is: better or worse only if p says so and 0 is not in the interval."""
        low, high = self.interval
        if self.p_value > _LEVEL or low <= 0 <= high:
            return "no clear difference"
        rises = self.mean > 0
        return "better" if rises != (self.metric in KINDS) else "worse"


@dataclass(frozen=True)
class Measured:
    """All that is known of a set of results."""

    rates: list[Rate]
    differences: list[Difference]
    missing: list[str]
    """What was left out, a sentence each."""
    sentences: dict[str, int]
    """Utterances of each test set."""


def find_results(
    folders: Iterable[str | os.PathLike[str]], tests: Sequence[str], tag: str
) -> tuple[list[Trained], list[str]]:
    """The scores of all trainings whose names end in a tag and the number of their seed.

    Args:
        folders: of experiments; each has `asr_SYSTEM_TAGn/decode_TEST[_DECODER]/score` (of
            translation: `st_SYSTEM_LANGUAGE_TAGn`) for seed n.
        tests: names of the test sets.
        tag: what stands before the number, such as `seed`.

    Returns:
        The results, and a sentence for each decoding without scores.

    Raises:
        ValueError: there are none, or two of the same system, decoder, test set and seed.
    """
    training = re.compile(
        rf"(?:asr_(?P<asr>.+)|st_(?P<st>.+)_(?P<language>[^_]+))_{re.escape(tag)}(?P<seed>\d+)"
    )
    # The longest name first: of test and test_other the second is meant by decode_test_other.
    known = "|".join(re.escape(test) for test in sorted(tests, key=len, reverse=True))
    decoding = re.compile(rf"decode_(?P<test>{known})(?:_(?P<decoder>.+))?")
    found: dict[tuple[Name, str, int], Trained] = {}
    unscored = []
    for place in sorted(p for folder in folders for p in Path(folder).glob("*/decode_*")):
        model, decoded = training.fullmatch(place.parent.name), decoding.fullmatch(place.name)
        if model is None or decoded is None:
            continue
        if not (place / "score" / SENTENCES).is_file():
            unscored.append(f"{place} has no scores (stage 14)")
            continue
        system, decoder = model["asr"] or model["st"], decoded["decoder"] or ""
        test, seed = decoded["test"], int(model["seed"])
        if model["asr"]:
            decoder = decoder or GREEDY
        else:
            test = f"{test} {model['language']}"
        result = Trained(system, decoder, test, seed, place / "score")
        other = found.setdefault((result.name, test, seed), result)
        if other is not result:
            raise ValueError(f"two results of the same seed: {other.folder} and {result.folder}")
    if not found:
        where = ", ".join(map(str, folders))
        raise ValueError(
            f"{where}: no scores of {' '.join(tests)} expected as asr_SYSTEM_{tag}N/decode_TEST/"
            f"score, N the seed; {'; '.join(unscored) or 'no such folder is there'}"
        )
    return [*found.values()], unscored


def measure(
    results: Sequence[Trained], pairs: Sequence[str], resamples: int, seed: int
) -> Measured:
    """Rates of all systems and decoders over their seeds, and differences of some.

    Args:
        results: of one or more test sets.
        pairs: `A:B`, each a system or SYSTEM/DECODER; where neither names a decoder, they are
            compared with each decoder that both have, else with all that fit.
        resamples: of bootstrap and randomisation.
        seed: of these draws.

    Raises:
        ValueError: a pair is not of that form; scores are damaged; results of a test set are of
            different utterances.
    """
    wanted = [_parse_pair(pair) for pair in pairs]
    measured = Measured([], [], [], {})
    for test in sorted({result.test for result in results}):
        own = [result for result in results if result.test == test]
        own.sort(key=lambda result: (result.name, result.seed or 0))
        _measure_test(own, wanted, resamples, seed, measured)
    return measured


def over_seeds(values: np.ndarray, seed: int) -> np.ndarray:
    """Draw the mean over the seeds of resampled test sets: bootstrap over utterances and seeds.

    An interval of these draws is one of the mean that trainings with other seeds would have on
    other utterances of the same kind. It is of a percentile bootstrap: where a large test set
    leaves the seeds as the main source of variation, three of them are too few for it (88 % of
    its intervals hold the truth then; 95 to 98 % with 200 utterances).

    Args:
        values: (n, K), rates or differences of each seed on n resampled test sets, each of the
            same utterances for all seeds.
        seed: of the draws of seeds.

    Returns:
        (n,).
    """
    resamples, count = values.shape
    mean = values.mean(1)
    if count == 1:
        return mean
    drawn = np.random.default_rng([seed, count]).integers(count, size=(resamples, count))
    chosen = np.take_along_axis(values, drawn, 1).mean(1)
    # The mean of K values drawn from K has (K - 1) / K of the variance that a mean of K seeds has.
    return mean + np.sqrt(count / (count - 1)) * (chosen - mean)


def chance(
    a: np.ndarray, b: np.ndarray, metric: Metric, resamples: int, rng: np.random.Generator
) -> float:
    """Probability of a mean difference as large, if A and B were alike on every utterance.

    Paired randomisation: A and B change places on an utterance with probability 1/2, within each
    seed and on the same utterances for all seeds, because what is hard for a system is so with
    every seed. This is about the trainings that were made. (A test over K seeds alone cannot give
    less than 2 / 2^K, which is 0.25 for three.)

    Args:
        a: (K, N, S) statistics of A, a seed each.
        b: those of B.
        metric: what they are of.
        resamples: exchanges to draw.
        rng: of the draws.
    """
    seeds, count, size = a.shape
    sums_a, sums_b = a.sum(1), b.sum(1)  # (K, S)
    actual = (metric.score(sums_b) - metric.score(sums_a)).mean()
    changes = (b - a).transpose(1, 0, 2).reshape(count, -1).astype(np.float64)  # (N, K S)
    extreme = 0
    for chunk in chunks(resamples):
        swaps = (rng.random((chunk, count)) < 0.5).astype(np.float64)
        moved = np.rint(swaps @ changes).astype(np.int64).reshape(chunk, seeds, size)
        found = scores_of_sums(metric, sums_b - moved) - scores_of_sums(metric, sums_a + moved)
        extreme += int((np.abs(found.mean(1)) >= abs(actual) - 1e-9).sum())
    return (extreme + 1) / (resamples + 1)  # + 1: as it is counts as one of the exchanges


def _measure_test(
    results: Sequence[Trained],
    pairs: Sequence[tuple[Name, Name]],
    resamples: int,
    seed: int,
    measured: Measured,
) -> None:
    """Add what the results of one test set say."""
    test = results[0].test
    rows: dict[Name, dict[int | None, int]] = {}  # number of the result by name and seed
    for number, result in enumerate(results):
        rows.setdefault(result.name, {})[result.seed] = number
    mixed = [" ".join(name) for name, row in rows.items() if None in row and len(row) > 1]
    if mixed:
        raise ValueError(f"{', '.join(mixed)}: results with seeds, and one without, on {test}")
    read = [compare.read_result(result.folder, None, None) for result in results]
    for other in read[1:]:
        try:
            compare.check_comparable(read[0], other)
        except ValueError as error:
            raise ValueError(f"{error}; are all test sets named (--tests)?") from None
    measured.sentences[test] = len(read[0].sentences)
    measured.missing.extend(_missing(rows, test))
    chosen = _choose(rows, pairs, test, measured.missing)
    for metric in compare.metrics_of(read[0].kind, read[0].tokenizer):
        statistics = np.stack([compare.statistics_of(result, metric) for result in read])
        scores = metric.score(statistics.sum(1))
        resampled = _bootstrap(statistics, metric, resamples, seed)
        for name, seeds in sorted(rows.items()):
            numbers = [*seeds.values()]
            by_seed = dict(zip(seeds, scores[numbers].tolist(), strict=True))
            bounds = interval(over_seeds(resampled[:, numbers], seed))
            measured.rates.append(Rate(name, test, metric.name, by_seed, bounds))
        for a, b in chosen:
            both = _common(rows[a], rows[b])
            first, second = (np.array([pair[i] for pair in both.values()]) for i in (0, 1))
            by_seed = dict(zip(both, (scores[second] - scores[first]).tolist(), strict=True))
            bounds = interval(over_seeds(resampled[:, second] - resampled[:, first], seed))
            rng = np.random.default_rng([seed, 0])
            p = chance(statistics[first], statistics[second], metric, resamples, rng)
            measured.differences.append(Difference(a, b, test, metric.name, by_seed, bounds, p))


def _bootstrap(statistics: np.ndarray, metric: Metric, resamples: int, seed: int) -> np.ndarray:
    """(n, R) scores of (R, N, S) statistics on resampled test sets, the same for all results."""
    rng = np.random.default_rng(seed)
    results, count, size = statistics.shape
    flat = statistics.transpose(1, 0, 2).reshape(count, -1).astype(np.float64)  # (N, R S)
    drawn = []
    for chunk in chunks(resamples):
        # N draws of utterances with replacement: how often each is drawn
        times = rng.multinomial(count, np.full(count, 1 / count), chunk).astype(np.float64)
        sums = np.rint(times @ flat).astype(np.int64)
        drawn.append(scores_of_sums(metric, sums.reshape(chunk, results, size)))
    return np.concatenate(drawn)


def _parse_pair(pair: str) -> tuple[Name, Name]:
    """`A:B`, each SYSTEM or SYSTEM/DECODER; no decoder is empty."""
    parts = [part.split("/") for part in pair.split(":")]
    if len(parts) != 2 or any(len(part) > 2 or not all(part) for part in parts):
        raise ValueError(f"SYSTEM[/DECODER]:SYSTEM[/DECODER] expected in --pairs, got {pair!r}")
    a, b = ((part + [""])[:2] for part in parts)
    return (a[0], a[1]), (b[0], b[1])


def _choose(
    rows: Mapping[Name, Mapping[int | None, int]],
    pairs: Sequence[tuple[Name, Name]],
    test: str,
    missing: list[str],
) -> list[tuple[Name, Name]]:
    """The rows that are compared; what is asked for and not there is added to `missing`."""
    chosen: list[tuple[Name, Name]] = []
    for a, b in pairs:
        found = [
            (first, second)
            for first in _like(a, rows)
            for second in _like(b, rows)
            if first != second and (a[1] or b[1] or first[1] == second[1])
        ]
        if not found:
            names = " and ".join("/".join(filter(None, name)) for name in (a, b))
            missing.append(f"{test}: {names} are not compared, as both are not there")
        for first, second in found:
            lost = _lost(rows[first], rows[second])
            names = f"{' '.join(first)} and {' '.join(second)}"
            if not _common(rows[first], rows[second]):
                missing.append(f"{test}: {names} are not compared, as they share no seed")
                continue
            if lost:
                listed = " ".join(map(str, lost))
                missing.append(
                    f"{test}: {names} are compared without seed {listed}, which one lacks"
                )
            chosen.append((first, second))
    return list(dict.fromkeys(chosen))


def _like(name: Name, rows: Iterable[Name]) -> list[Name]:
    return sorted(row for row in rows if row[0] == name[0] and name[1] in ("", row[1]))


def _common(
    a: Mapping[int | None, int], b: Mapping[int | None, int]
) -> dict[int | None, tuple[int, int]]:
    """{seed: (A's, B's number)}; a result without seed stands beside each of the other's."""
    seeds = a if None in b else b
    return {
        seed: (a[None] if None in a else a[seed], b[None] if None in b else b[seed])
        for seed in seeds
        if (None in a or seed in a) and (None in b or seed in b)
    }


def _lost(a: Mapping[int | None, int], b: Mapping[int | None, int]) -> list[int]:
    """Seeds that one has and the other lacks."""
    if None in a or None in b:
        return []
    return sorted(seed for seed in a.keys() ^ b.keys() if seed is not None)


def _missing(rows: Mapping[Name, Mapping[int | None, int]], test: str) -> list[str]:
    """A sentence for each row that lacks seeds which others have."""
    seeds = {seed for row in rows.values() for seed in row if seed is not None}
    found = []
    for name, row in sorted(rows.items()):
        lost = [] if None in row else sorted(seeds - row.keys())
        if lost:
            found.append(f"{test}: {' '.join(name).strip()} has no seed {' '.join(map(str, lost))}")
    return found
