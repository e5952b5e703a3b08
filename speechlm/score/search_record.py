"""What a decoding says of its search, as a score's reader needs it: weights, speed, failures."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from speechlm.data.kaldi_dir import show_ids
from speechlm.decode.hypotheses import SEARCH, SearchReport

_AGAIN = "decode again (stage 13)"
_SUFFIXES = ("_weight", "_score")


def read_search(path: str | os.PathLike[str], utterances: Collection[str]) -> SearchReport:
    """The report of a search, checked to be of the utterances that are scored.

    Args:
        path: `search.json` of a decoding.
        utterances: those that are scored.

    Raises:
        ValueError: it is damaged, or of a decoding of other utterances.
    """
    if Path(path).name != SEARCH:
        raise ValueError(f"{path}: {SEARCH} of a decoding expected")
    report = SearchReport.read(Path(path).parent)
    if report.utterances != len(utterances):
        raise ValueError(
            f"{path}: the search of {len(utterances)} utterances expected, as many as are scored; "
            f"it is of {report.utterances}; {_AGAIN}"
        )
    foreign = sorted({*report.unfinished, *report.empty} - set(utterances))
    if foreign:
        raise ValueError(
            f"{path} names {len(foreign)} utterances that are not scored: {show_ids(foreign)}; "
            f"{_AGAIN}"
        )
    return report


def weights_line(report: SearchReport) -> str:
    """Such as `lm 2.5, word -1, blank 2`."""
    shown = []
    for name, weight in report.weights.items():
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
        shown.append(f"{name} {weight:g}")
    return ", ".join(shown)


def search_text(report: SearchReport) -> str:
    """Lines of Markdown on a search."""
    lines = [f"- search: {report.search}, language model: {report.lm}"]
    if report.weights:
        lines.append(f"- weights: {weights_line(report)}")
    lines.append(f"- CPU seconds of search for a second of audio: {report.real_time_factor:.2g}")
    for what, ids in (
        ("searches that ended in no final state", report.unfinished),
        ("utterances without a frame", report.empty),
    ):
        lines.append(f"- {what}: {len(ids)}" + (f" ({show_ids(ids)})" if ids else ""))
    return "Search\n\n" + "".join(f"{line}\n" for line in lines)
