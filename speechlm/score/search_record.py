"""What a decoding says of its search (`search.json`): language model, weights, speed, failures."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechlm.data.kaldi_dir import show_ids
from speechlm.data.whole_files import read_json

SEARCH = "search"
"""Key among the figures of a folder of scores."""
_AGAIN = "decode again (stage 13)"
_SUFFIXES = ("_weight", "_score")


@dataclass(frozen=True)
class SearchRecord:
    """The part of a search's record that is reported."""

    search: str
    """greedy, graph, flashlight, ..."""
    lm: str
    """none, ngram, transformer, ..."""
    weights: dict[str, float]
    """By the names of the decoder's options."""
    real_time_factor: float | None
    """Seconds of search for a second of audio."""
    utterances: int | None
    unfinished: tuple[str, ...]
    """Utterances whose search ended in no final state."""
    empty: tuple[str, ...]
    """Utterances without a frame."""

    @classmethod
    def parse(cls, values: dict[str, Any], where: str | os.PathLike[str]) -> SearchRecord:
        """From the values of the file; keys that are not reported may have any value.

        Args:
            values: by key.
            where: the file, for messages.

        Raises:
            ValueError: a value is missing or of another kind.
        """
        weights = values.get("weights") or {}
        ids = {name: values.get(name) or [] for name in ("unfinished", "empty")}
        speed, count = values.get("real_time_factor"), values.get("utterances")
        expected = {
            "search: a word": isinstance(values.get("search"), str),
            "lm: a word": isinstance(values.get("lm"), str),
            "weights: numbers by name": isinstance(weights, dict)
            and all(_number(weight) for weight in weights.values()),
            "real_time_factor: a number": speed is None or _number(speed),
            "utterances: a number": count is None or _number(count),
            **{f"{name}: a list of utterances": _names(found) for name, found in ids.items()},
        }
        wrong = [what for what, right in expected.items() if not right]
        if wrong:
            raise ValueError(f"{where}: expected {'; '.join(wrong)}; {_AGAIN}")
        return cls(
            values["search"],
            values["lm"],
            {name: float(weight) for name, weight in weights.items()},
            None if speed is None else float(speed),
            None if count is None else int(count),
            tuple(ids["unfinished"]),
            tuple(ids["empty"]),
        )

    def weights_line(self) -> str:
        """Such as `lm 2.5, word -1, blank 2`."""
        shown = {}
        for name, weight in self.weights.items():
            short = name
            for suffix in _SUFFIXES:
                short = short.removesuffix(suffix)
            shown[short] = f"{weight:g}"
        return ", ".join(f"{name} {weight}" for name, weight in shown.items())


def read_search(path: str | os.PathLike[str], utterances: Collection[str]) -> dict[str, Any]:
    """All values of a `search.json`, checked.

    Args:
        path: the file.
        utterances: those that are scored.

    Raises:
        ValueError: it is damaged, or of a decoding of other utterances.
    """
    values = read_json(path, "record of a search", _AGAIN)
    record = SearchRecord.parse(values, path)
    if record.utterances not in (None, len(utterances)):
        raise ValueError(
            f"{path}: the search of {len(utterances)} utterances expected, as many as are scored; "
            f"it is of {record.utterances}; {_AGAIN}"
        )
    foreign = sorted({*record.unfinished, *record.empty} - set(utterances))
    if foreign:
        raise ValueError(
            f"{path} names {len(foreign)} utterances that are not scored: {show_ids(foreign)}; "
            f"{_AGAIN}"
        )
    return values


def search_text(values: dict[str, Any], where: Path) -> str:
    """Lines of Markdown on a search.

    Args:
        values: of `read_search`.
        where: the file, for messages.
    """
    record = SearchRecord.parse(values, where)
    lines = [f"- search: {record.search}, language model: {record.lm}"]
    if record.weights:
        lines.append(f"- weights: {record.weights_line()}")
    if record.real_time_factor is not None:
        lines.append(f"- seconds of search for a second of audio: {record.real_time_factor:.4f}")
    for what, ids in (
        ("searches that ended in no final state", record.unfinished),
        ("utterances without a frame", record.empty),
    ):
        lines.append(f"- {what}: {len(ids)}" + (f" ({show_ids(ids)})" if ids else ""))
    return "Search\n\n" + "".join(f"{line}\n" for line in lines)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
