"""Interval tiers of Praat's TextGrids, in the long and the short text form.

The two forms are one: what counts are numbers and <flags> that stand free, and "texts"; the rest
(`xmin =`, `intervals [1]:`) is for the eye. A tier is its class, its name, two times and a number
of intervals, then start, end and label of each. The number is not relied on: programs that edit
TextGrids forget to change it. Source: Praat's manual, page "TextGrid file formats".
"""

from __future__ import annotations

import codecs
import os
import re
from dataclasses import dataclass
from pathlib import Path

from speechlm.data.names import is_hidden, safe_id

SUFFIX = ".textgrid"
_CLASSES = ("IntervalTier", "TextTier")
_TOKEN = re.compile(
    r'(?<!\S)(?:"(?P<text>(?:[^"]|"")*)"(?!\S)'
    r"|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)"
    r"|<\w+>|!.*)"
)


@dataclass(frozen=True)
class Interval:
    """What is between two times (seconds)."""

    start: float
    end: float
    label: str


def find_textgrids(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """ID.TextGrid files of a folder, at any depth, by id (`names.safe_id`).

    Raises:
        ValueError: there is no such folder, or two files have the same id.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"a folder of TextGrids expected, but {folder} is not there")
    found: dict[str, Path] = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for path in sorted(Path(place, name) for name in names if not is_hidden(name)):
            if path.suffix.lower() != SUFFIX:
                continue
            utterance = safe_id(path.stem)
            if utterance in found:
                raise ValueError(f"two TextGrids of {utterance}: {found[utterance]} and {path}")
            found[utterance] = path
    return found


def read_intervals(path: str | os.PathLike[str], tier: str) -> list[Interval]:
    """The intervals of a tier, in the order of time.

    Args:
        path: a TextGrid in UTF-8 or UTF-16.
        tier: name of an interval tier.

    Raises:
        ValueError: no TextGrid, no such tier, no intervals in it, or damaged ones.
    """
    tokens = [
        (float(found["number"]) if found["text"] is None else found["text"].replace('""', '"'))
        for found in _TOKEN.finditer(_decoded(Path(path)))
        if found["text"] is not None or found["number"] is not None
    ]
    texts = [token for token in tokens if isinstance(token, str)]
    if not texts or not texts[0].startswith("ooTextFile") or "TextGrid" not in texts[:2]:
        raise ValueError(f"{path}: a TextGrid expected, which begins with ooTextFile and TextGrid")
    found = _intervals(tokens, tier, str(path))
    if not found:
        raise ValueError(f"{path}: no intervals in a tier called {tier!r}")
    ends = [interval.end for interval in found]
    if ends != sorted(ends) or any(interval.start > interval.end for interval in found):
        raise ValueError(f"{path}: intervals of the tier {tier!r} are not in the order of time")
    return found


def _intervals(tokens: list[float | str], tier: str, source: str) -> list[Interval]:
    """Intervals of the first interval tier of a name."""
    found: list[Interval] = []
    numbers: list[float] = []
    inside, heads = False, 0  # heads: texts of a tier's beginning that are to come
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if isinstance(token, float):
            numbers.append(token)
        elif heads:
            inside, heads = token == tier, 0
        elif token in _CLASSES and isinstance(following, str):
            if inside:
                break
            heads = int(token == "IntervalTier")
        elif inside:
            if len(numbers) < 2:
                raise ValueError(f"{source}: a start and an end expected before {token!r}")
            found.append(Interval(numbers[-2], numbers[-1], token))
        if isinstance(token, str):
            numbers = []
    if found and numbers and inside:
        raise ValueError(f"{source}: cut off in the tier {tier!r}, behind {found[-1].end:g} s")
    return found


def _decoded(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith(b"ooBinaryFile"):
        raise ValueError(f"{path}: a binary TextGrid; save it as a text file in Praat")
    encoding = "utf-8-sig"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in raw[:2]:
        encoding = "utf-16-be" if raw[:1] == b"\0" else "utf-16-le"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: text in UTF-8 or UTF-16 expected ({error.reason} at byte {error.start});"
            " save it as UTF-8 in Praat"
        ) from None
