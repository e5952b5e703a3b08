"""Tables of what several seeds give: Markdown for readers, TSV for programs and pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from speechlm.data.atomic import write_text
from speechlm.score.markdown import escape, markdown_table
from speechlm.score.seeds import Difference, Measured, Rate

RATES = ("test", "system", "decoder", "metric", "seed", "value", "deviation", "low", "high")
"""Columns of the table of rates: a row a seed, and one `mean` with deviation and interval."""
DIFFERENCES = (
    *("test", "system_a", "decoder_a", "system_b", "decoder_b", "metric", "seed"),
    *("difference", "low", "high", "p"),
)
"""Columns of that of differences B - A, likewise."""
_MEAN = "mean"
_NONE = "-"


def sections(measured: Measured, resamples: int, seed: int) -> dict[str, str]:
    """Markdown by heading: rates and differences of each test set, and what was left out."""
    found: dict[str, str] = {}
    for test, sentences in measured.sentences.items():
        rates = [rate for rate in measured.rates if rate.test == test]
        found[f"Means over seeds on {escape(test)}"] = (
            f"Mean over the seeds with its 95 % interval (bootstrap over {sentences} utterances and"
            " the seeds), standard deviation over the seeds, and the value of each. The interval"
            " is that of the mean of trainings with other seeds on other utterances of the kind;"
            " a row without seed has that of its utterances alone, and so has one with a single"
            f" seed. {resamples} resamples, seed {seed}.\n\n{rates_table(rates)}"
        )
        differences = [d for d in measured.differences if d.test == test]
        if differences:
            found[f"Differences over seeds on {escape(test)}"] = (
                "B - A, mean over the seeds that both have, with its 95 % interval (as above, the"
                " same utterances and seeds drawn for both); in how many seeds the difference has"
                " this sign; and p, the probability of a mean as large if the two were alike on"
                " every utterance (paired randomisation over utterances within seeds). p is about"
                " these trainings; a test over the seeds alone could not give less than 0.25 for"
                " three of them. Better or worse: p is at most 0.05 and 0 is not in the interval,"
                f" each pair for itself.\n\n{differences_table(differences)}"
            )
    if measured.missing:
        found["Left out"] = "".join(f"- {escape(line)}\n" for line in measured.missing)
    return found


def rates_table(rates: Sequence[Rate]) -> str:
    """One row a system and decoder, three columns a metric."""
    metrics = list(dict.fromkeys(rate.metric for rate in rates))
    known = {(rate.name, rate.metric): rate for rate in rates}
    rows = []
    for system, decoder in dict.fromkeys(rate.name for rate in rates):
        own = [known[(system, decoder), metric] for metric in metrics]
        cells = [system, decoder or _NONE, _seeds(own[0])]
        for rate in own:
            low, high = rate.interval
            deviation = _NONE if rate.deviation is None else f"{rate.deviation:.2f}"
            each = " ".join(f"{value:.1f}" for value in rate.by_seed.values())
            cells += [f"{rate.mean:.1f} [{low:.1f}, {high:.1f}]", deviation, each]
        rows.append(cells)
    columns = [name for m in metrics for name in (m, "SD", f"{m} of each")]
    return markdown_table(["system", "decoder", "seeds", *columns], rows)


def differences_table(differences: Sequence[Difference]) -> str:
    """One row a pair, three columns a metric."""
    metrics = list(dict.fromkeys(d.metric for d in differences))
    known = {(d.a, d.b, d.metric): d for d in differences}
    rows = []
    for a, b in dict.fromkeys((d.a, d.b) for d in differences):
        own = [known[a, b, metric] for metric in metrics]
        cells = [" ".join(a).strip(), " ".join(b).strip(), _seeds(own[0])]
        for found in own:
            low, high = found.interval
            cells.append(f"{found.mean:+.1f} [{low:+.1f}, {high:+.1f}]")
            cells += [f"{found.agreeing} of {len(found.by_seed)}", f"{found.p_value:.4f}"]
        verdicts = [found.verdict for found in own]
        if len(set(verdicts)) > 1:
            verdicts = [f"{m}: {verdict}" for m, verdict in zip(metrics, verdicts, strict=True)]
        rows.append([*cells, "; ".join(dict.fromkeys(verdicts))])
    columns = [name for m in metrics for name in (f"{m}: B - A", "same sign", "p")]
    return markdown_table(["A", "B", "seeds", *columns, "B is"], rows)


def write_rates(path: str | os.PathLike[str], rates: Iterable[Rate]) -> None:
    """Write the rates with tabs between, columns `RATES`; empty: there is none."""
    rows = []
    for rate in rates:
        head = [rate.test, *rate.name, rate.metric]
        seeds = [(seed, v) for seed, v in rate.by_seed.items() if seed is not None]
        rows += [[*head, str(seed), repr(value), "", "", ""] for seed, value in seeds]
        deviation = "" if rate.deviation is None else repr(rate.deviation)
        rows.append([*head, _MEAN, repr(rate.mean), deviation, *map(repr, rate.interval)])
    _write(path, RATES, rows)


def write_differences(path: str | os.PathLike[str], differences: Iterable[Difference]) -> None:
    """Write the differences with tabs between, columns `DIFFERENCES`; empty: there is none."""
    rows = []
    for found in differences:
        head = [found.test, *found.a, *found.b, found.metric]
        seeds = [(seed, v) for seed, v in found.by_seed.items() if seed is not None]
        rows += [[*head, str(seed), repr(value), "", "", ""] for seed, value in seeds]
        numbers = (found.mean, *found.interval, found.p_value)
        rows.append([*head, _MEAN, *map(repr, numbers)])
    _write(path, DIFFERENCES, rows)


def read_rates(path: str | os.PathLike[str]) -> list[Rate]:
    """What `write_rates` wrote.

    Raises:
        ValueError: it is something else, or damaged.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    if not lines or tuple(lines[0].split("\t")) != RATES:
        raise ValueError(f"{path}: a table of compare_seeds expected, columns {' '.join(RATES)}")
    rates: list[Rate] = []
    by_seed: dict[int | None, float] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            test, system, decoder, metric, seed, value, _, low, high = line.split("\t")
            if seed != _MEAN:
                by_seed[int(seed)] = float(value)
                continue
            known = by_seed or {None: float(value)}
            interval = float(low), float(high)
        except ValueError:
            raise ValueError(f"{path}:{number}: {', '.join(RATES)} expected: {line!r}") from None
        rates.append(Rate((system, decoder), test, metric, known, interval))
        by_seed = {}
    if by_seed:
        raise ValueError(f"{path}: the last row is to be a {_MEAN}; is the file cut off?")
    return rates


def _seeds(found: Rate | Difference) -> str:
    return " ".join(str(seed) for seed in found.by_seed if seed is not None) or _NONE


def _write(path: str | os.PathLike[str], header: Sequence[str], rows: list[list[str]]) -> None:
    write_text(path, "".join("\t".join(cells) + "\n" for cells in [[*header], *rows]))


def rates_of_test(
    path: str | os.PathLike[str], test: str, systems: Sequence[str] | None
) -> list[Rate]:
    """The rates of a test set in a table of `write_rates`.

    Args:
        path: the table.
        test: the test set.
        systems: those that are wanted, in this order; None: all.

    Raises:
        ValueError: it has none of the test set, or of a system.
    """
    rates = read_rates(path)
    own = [rate for rate in rates if rate.test == test]
    there = list(dict.fromkeys(rate.name[0] for rate in own))
    if not own:
        tests = " ".join(sorted({rate.test for rate in rates}))
        raise ValueError(f"{path} has no rates of {test}; it has those of {tests}")
    wanted = there if systems is None else systems
    lost = [system for system in wanted if system not in there]
    if lost:
        raise ValueError(f"{path} has no {' '.join(lost)} on {test}; it has {' '.join(there)}")
    return sorted((r for r in own if r.name[0] in wanted), key=lambda r: wanted.index(r.name[0]))
