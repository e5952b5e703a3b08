"""The report on recognition: a row for each system and decoder, intervals, paired tests, warnings.

First a narrow table of all test sets with what must be known to read it; then, for each test set,
the details of each row and the differences between neighbouring ones.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from speechlm.decode.hypotheses import SearchReport
from speechlm.score import compare, recognition
from speechlm.score.compare import Comparison
from speechlm.score.error_rate import ErrorCounts
from speechlm.score.kept import Kept
from speechlm.score.legend import legend
from speechlm.score.markdown import code, escape, markdown_table
from speechlm.score.oracle import Oracle
from speechlm.score.report import KINDS, error_table, read_scores
from speechlm.score.search_record import weights_line
from speechlm.score.sentences import read_counts, read_figures
from speechlm.score.vocabulary import OutOfVocabulary

GREEDY = "greedy"
"""The decoder without a language model."""
PHONES = "phones"
"""The decoder that needs no fine-tuning."""
_COLUMNS = (
    *("system", "decoder", "WER", "CER", "Sub", "Del", "Ins"),
    *("OOV", "oracle", "RTF", "unfinished", "weights"),
)
_LEVEL = 0.05  # of the tests
_ALMOST_ALL = 50.0  # percent
_MUCH_UNKNOWN = 2.0  # percent


@dataclass(frozen=True)
class Scored:
    """One result."""

    system: str
    decoder: str
    """greedy, ngram, transformer, ...; may be empty."""
    test: str
    folder: str | os.PathLike[str]
    """What `score` or `score_st` wrote."""

    @property
    def name(self) -> str:
        """System and decoder."""
        return f"{self.system} {self.decoder}".strip()


@dataclass(frozen=True)
class Row:
    """A result with its figures; intervals are of 95 %."""

    scored: Scored
    counts: dict[str, ErrorCounts]
    intervals: dict[str, tuple[float, float]]
    """By "WER" and "CER"."""
    result: compare.Result
    oracle: Oracle | None
    vocabulary: OutOfVocabulary | None
    search: SearchReport | None


@dataclass(frozen=True)
class Difference:
    """Two rows of a test set."""

    a: Row
    b: Row
    found: dict[str, Comparison]
    """By "WER" and "CER"."""

    def verdict(self, kind: str = "WER") -> str:
        """B against A under "WER" or "CER": better, worse, or no clear difference."""
        found = self.found[kind]
        if found.p_value > _LEVEL:
            return "no clear difference"
        return "better" if found.scores[1] < found.scores[0] else "worse"

    def verdicts(self) -> str:
        """That of WER, and that of CER where it is another."""
        words, letters = self.verdict("WER"), self.verdict("CER")
        return words if words == letters else f"{words}; CER: {letters}"

    def test_line(self, kind: str = "WER") -> str:
        """Both rates, their difference with its interval, and p."""
        found = self.found[kind]
        return (
            f"{kind} {found.scores[1]:.1f} against {found.scores[0]:.1f}, "
            f"{_change(found)}, p = {found.p_value:.3f}"
        )


def recognition_sections(
    results: Sequence[Scored],
    resamples: int,
    seed: int,
    kept: Sequence[Kept] = (),
    baseline: str = "",
) -> tuple[str, dict[str, str]]:
    """The narrow table, and the sections of the report by heading.

    Args:
        results: folders that `score` wrote; neighbours are compared.
        resamples: of the bootstrap and of the paired test.
        seed: of both.
        kept: of other runs, for the last rows of the narrow table; those on other test sets are
            named below it.
        baseline: a system that the others are compared with, too: the last decoder of each, and
            its phones; a row that is not better is pointed out.

    Raises:
        ValueError: a folder has no scores or damaged ones, or results of a test set are of
            different utterances.
    """
    tests: dict[str, tuple[list[Row], list[Difference]]] = {}
    for test in dict.fromkeys(result.test for result in results):
        own = [r for r in results if r.test == test]
        tests[test] = _measure(own, _pairs(own, baseline), resamples, seed)
    rows = [row for found, _ in tests.values() for row in found]
    sets = {row.scored.test: row.counts["WER"] for row in rows}
    shown = [result for result in kept if not result.misfit(sets)]
    table = _narrow_table(rows, shown)
    present = baseline if any(row.scored.system == baseline for row in rows) else ""
    notes = legend((row.scored.decoder for row in rows), present)
    for found, differences in tests.values():
        notes += _notes(found, differences) + _against(differences, baseline)
    notes += _kept_notes(kept, sets)
    sections = {"Systems": "\n".join(["Error rates in percent.\n", table, *notes])}
    for test, (found, differences) in tests.items():
        sections[f"Decoding of {escape(test)}"] = _details(found)
        if differences:
            about = _about(len(found[0].result.sentences), resamples, seed)
            text = f"{about}\n\n{_differences_table(differences)}"
            sections[f"Differences on {escape(test)}"] = text
    for kind in KINDS:
        named = {"/".join(filter(None, _key(row))): row.counts[kind] for row in rows}
        sections[kind] = error_table(named)
    return table, sections


def _measure(
    results: Sequence[Scored], pairs: Sequence[tuple[int, int]], resamples: int, seed: int
) -> tuple[list[Row], list[Difference]]:
    """The rows of one test set and the differences of pairs of them, on the same resamples."""
    counts = [read_scores(result.folder) for result in results]
    read = [compare.read_result(result.folder, None, None) for result in results]
    for other in read[1:]:
        compare.check_comparable(read[0], other)
    intervals: list[dict[str, tuple[float, float]]] = [{} for _ in results]
    comparisons: list[dict[str, Comparison]] = [{} for _ in pairs]
    for metric in compare.metrics_of("asr"):
        statistics = np.stack([compare.statistics_of(result, metric) for result in read])
        scores, found = compare.compare_pairs(statistics, pairs, metric, resamples, seed)
        for by_kind, (_, interval) in zip(intervals, scores, strict=True):
            by_kind[metric.name] = interval
        for pair, comparison in zip(comparisons, found, strict=True):
            pair[metric.name] = comparison
    rows = [_row(*known) for known in zip(results, counts, intervals, read, strict=True)]
    differences = [
        Difference(rows[a], rows[b], found)
        for (a, b), found in zip(pairs, comparisons, strict=True)
    ]
    return rows, differences


def _pairs(results: Sequence[Scored], baseline: str) -> list[tuple[int, int]]:
    """Neighbouring decoders of a system, each decoder and greedy; systems with the same decoder.

    Then the baseline with the last decoder of each system, and with its phones.
    """
    systems: dict[str, list[int]] = {}
    decoders: dict[str, list[int]] = {}
    for number, result in enumerate(results):
        systems.setdefault(result.system, []).append(number)
        decoders.setdefault(result.decoder, []).append(number)
    pairs: list[tuple[int, int]] = []
    for numbers in systems.values():
        greedy = [n for n in numbers if results[n].decoder == GREEDY]
        pairs += [(g, n) for g in greedy for n in numbers if n > g]
        pairs += pairwise(numbers)
    for numbers in decoders.values():
        pairs += pairwise(numbers)
    for base in systems.get(baseline, []):
        for system, numbers in systems.items():
            words = [n for n in numbers if results[n].decoder not in (GREEDY, PHONES)]
            phones = [n for n in numbers if results[n].decoder == PHONES]
            if system != baseline:
                pairs += [(base, n) for n in words[-1:] + phones]
    return list(dict.fromkeys(pairs))


def _row(
    scored: Scored,
    counts: dict[str, ErrorCounts],
    intervals: dict[str, tuple[float, float]],
    result: compare.Result,
) -> Row:
    folder = scored.folder
    figures = read_figures(folder)
    best = known = search = None
    if recognition.ORACLE in figures:
        best = read_counts(folder, recognition.ORACLE, Oracle)
    if recognition.OOV in figures:
        known = read_counts(folder, recognition.OOV, OutOfVocabulary)
    if recognition.SEARCH in figures:
        search = read_counts(folder, recognition.SEARCH, SearchReport)
    return Row(scored, counts, intervals, result, best, known, search)


def _narrow_table(rows: Sequence[Row], kept: Sequence[Kept]) -> str:
    """One row a system and decoder, WER and CER of each test set; kept results come last."""
    found = {_key(row): {kind: row.counts[kind].rate for kind in KINDS} for row in rows}
    found |= {(k.label, k.decoder, k.test): dict(k.rates) for k in kept}
    tests = dict.fromkeys(test for *_, test in found)
    kinds = [(test, kind) for test in tests for kind in KINDS]
    decoders = any(decoder for _, decoder, _ in found)
    table = []
    for system, decoder in dict.fromkeys((system, decoder) for system, decoder, _ in found):
        cells = [system, decoder or "-"] if decoders else [system]
        for test, kind in kinds:
            rates = found.get((system, decoder, test))
            cells.append(f"{rates[kind]:.1f}" if rates else "-")
        table.append(cells)
    head = ["system", "decoder"] if decoders else ["system"]
    return markdown_table([*head, *(f"{test} {kind}" for test, kind in kinds)], table)


def _kept_notes(kept: Sequence[Kept], sets: Mapping[str, ErrorCounts]) -> list[str]:
    """Where kept results are from, and why some are not in the table; a line of Markdown each."""
    notes = []
    for result in kept:
        why = result.misfit(sets)
        if why:
            name = escape(f"{result.label}, {result.decoder}")
            notes.append(f"- **not shown**: {name}: {escape(why)}")
        else:
            notes.append(f"- {escape(result.label)}: {code(result.command)} at `{result.commit}`")
    return list(dict.fromkeys(notes))


def _details(rows: Sequence[Row]) -> str:
    """All figures of a test set's rows; columns that none of them has are left out."""
    table: list[dict[str, str]] = []
    for row in rows:
        words = row.counts["WER"]
        rate = {kind: row.counts[kind].rate for kind in KINDS}
        cells = {
            "system": row.scored.system,
            "decoder": row.scored.decoder,
            "WER": f"{rate['WER']:.1f} {_interval(row.intervals['WER'])}",
            "CER": f"{rate['CER']:.1f} {_interval(row.intervals['CER'])}",
            "Sub": _share(words.substitutions, words),
            "Del": _share(words.deletions, words),
            "Ins": _share(words.insertions, words),
            "OOV": f"{row.vocabulary.rate:.1f}" if row.vocabulary else "",
            "oracle": f"{row.oracle.rate:.1f}" if row.oracle else "",
        }
        if row.search:
            cells["RTF"] = f"{row.search.real_time_factor:.2g}"
            cells["unfinished"] = str(len(row.search.unfinished))
            cells["weights"] = weights_line(row.search)
        table.append(cells)
    shown = [name for name in _COLUMNS if any(cells.get(name) for cells in table)]
    text = (
        f"Percent of the words ({rows[0].counts['WER'].tokens}) or characters, with 95 % intervals"
        " in brackets. OOV: words that the lexicon lacks. Oracle: WER of the best entries of the"
        " n-best lists. RTF: CPU seconds of search and rescoring for a second of audio. Unfinished:"
        " utterances without a final state. Weights: lm and ngram of log10 P, neural of ln P.\n\n"
    )
    return text + markdown_table(shown, [[c.get(n) or "-" for n in shown] for c in table])


def _about(sentences: int, resamples: int, seed: int) -> str:
    return (
        "B - A with its 95 % interval (bootstrap over utterances), and p, the probability of a"
        " difference as large between systems that are alike (paired randomisation);"
        f" {sentences} utterances, {resamples} resamples, seed {seed}. Better or worse: p is"
        f" at most {_LEVEL}, each pair for itself."
    )


def _differences_table(differences: Sequence[Difference]) -> str:
    rows = []
    for difference in differences:
        cells = [difference.a.scored.name, difference.b.scored.name]
        for kind in KINDS:
            found = difference.found[kind]
            cells += [_change(found), f"{found.p_value:.3f}"]
        rows.append([*cells, difference.verdicts()])
    header = ("A", "B", "WER: B - A", "p", "CER: B - A", "p", "B is")
    return markdown_table(header, rows)


def _notes(rows: Sequence[Row], differences: Sequence[Difference]) -> list[str]:
    """What a reader of the table must know, a line of Markdown each."""
    notes = []
    for difference in differences:
        a, b = difference.a.scored, difference.b.scored
        if a.system != b.system:
            continue
        who = f"{escape(b.system)} on {escape(b.test)}"
        what = f"{escape(b.decoder)} than {escape(a.decoder)}"
        lm = "the language model makes it" if a.decoder == GREEDY else "it is"
        words, letters = difference.verdict(), difference.verdict("CER")
        tests = difference.test_line()
        if letters == "worse":
            tests += f"; {difference.test_line('CER')}"
        if words == "worse":
            notes.append(f"- **{who}: {lm} worse** with {what} ({tests})")
        elif letters == "worse":
            fewer = "fewer" if words == "better" else "no fewer"
            notes.append(
                f"- **{who}: {fewer} wrong words, but more wrong characters** with {what} ({tests})"
            )
        elif words != "better" and a.decoder == GREEDY:
            pair = f"{escape(a.decoder)} and {escape(b.decoder)}"
            notes.append(f"- {who}: no clear difference between {pair} ({tests})")
    for row in rows:
        name = escape(f"{row.scored.name} on {row.scored.test}")
        notes += [f"- **{name}** {oddity}" for oddity in _oddities(row)]
    lexicons = {row.vocabulary.lexicon: row.vocabulary for row in rows if row.vocabulary}
    notes += [
        f"- **{escape(rows[0].scored.test)}: {known.rate:.1f} % of the words are not in the"
        f" lexicon** {code(known.lexicon)}; decoders that are bound to it cannot write them"
        for known in lexicons.values()
        if known.rate > _MUCH_UNKNOWN
    ]
    return notes


def _against(differences: Sequence[Difference], baseline: str) -> list[str]:
    """The rows that are not better than the baseline."""
    return [
        f"- **{escape(d.b.scored.name)} on {escape(d.b.scored.test)}: {d.verdict()}**, compared "
        f"with {escape(d.a.scored.name)} ({d.test_line()})"
        for d in differences
        if d.a.scored.system == baseline != d.b.scored.system and d.verdict() != "better"
    ]


def _oddities(row: Row) -> list[str]:
    """What makes the error rate of a row mean something else."""
    found = []
    words = row.counts["WER"]
    lost = 100.0 * words.deletions / max(1, words.tokens)
    if lost > _ALMOST_ALL:
        found.append(f"writes almost nothing: {lost:.0f} % of the words are deleted")
    sentences = row.result.sentences.values()
    written = Counter(w for s in sentences for w in s.hypothesis.split())
    spoken = Counter(w for s in sentences for w in s.reference.split())
    for word, count in written.most_common(1):
        share = 100.0 * count / written.total()
        expected = 100.0 * spoken[word] / max(1, spoken.total())
        if share > _ALMOST_ALL and share > 2 * expected:
            found.append(
                f"writes the same everywhere: {share:.0f} % of its words are {escape(word)} "
                f"({expected:.0f} % of the references')"
            )
    return found


def _key(row: Row) -> tuple[str, str, str]:
    return row.scored.system, row.scored.decoder, row.scored.test


def _change(found: Comparison) -> str:
    return f"{found.scores[1] - found.scores[0]:+.1f} {_interval(found.difference, '+')}"


def _interval(interval: tuple[float, float], sign: str = "") -> str:
    low, high = interval
    return f"[{low:{sign}.1f}, {high:{sign}.1f}]"


def _share(count: int, words: ErrorCounts) -> str:
    return f"{100.0 * count / max(1, words.tokens):.1f}"
