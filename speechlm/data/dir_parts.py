"""Cutting data directories into parts, for jobs side by side, and putting some together."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from speechlm.data.atomic import output_dir, write_text
from speechlm.data.columns import State, state_of, turn
from speechlm.data.kaldi_dir import DataDir, show_ids, translation_files
from speechlm.data.segments import SEGMENTS

_T = TypeVar("_T")
_MADE_OF = ".made_of"  # in the folder of the parts: versions of the tables that were cut


def combine(parts: Sequence[DataDir]) -> DataDir:
    """One directory of several. A table is kept if all parts have it; equal ids are an error."""
    if not parts:
        raise ValueError("at least one data directory is needed to combine")
    seen: set[str] = set()
    for part in parts:
        double = sorted(seen & part.wav.keys())
        if double:
            raise ValueError(f"{len(double)} ids are in two of the parts: {show_ids(double)}")
        seen |= part.wav.keys()

    languages = set.intersection(*(set(part.translations) for part in parts))
    return DataDir(
        _merged([part.wav for part in parts]),
        _merged([part.utt2spk for part in parts]),
        _merged_if_all([part.text for part in parts]),
        _merged_if_all([part.n_samples for part in parts]),
        {name: _merged([part.translations[name] for part in parts]) for name in sorted(languages)},
        _merged([part.segments for part in parts]),
    )


def split(data: DataDir, n: int, by_speaker: bool = False) -> list[DataDir]:
    """Cut into at most n parts of about equal audio length, in the order of the ids.

    No part is empty: there are fewer parts if there are fewer utterances (or speakers, when
    whole speakers are kept together). Without utt2num_samples utterances count the same.
    """
    if n < 1:
        raise ValueError(f"a number of parts of at least 1 expected, got {n}")
    if not data.wav:
        raise ValueError("the data directory has no utterances to split")
    groups = list(data.spk2utt.values()) if by_speaker else [[u] for u in data.ids]
    weight = data.n_samples or dict.fromkeys(data.wav, 1)
    sizes = [sum(weight[u] for u in group) for group in groups]
    bounds = _balanced_bounds(sizes, min(n, len(groups)))
    return [
        data.subset(u for group in groups[first:last] for u in group)
        for first, last in zip(bounds, bounds[1:], strict=False)
    ]


def write_split(folder: str | os.PathLike[str], parts: Sequence[DataDir]) -> None:
    """Write parts as folder/1 ... folder/N; what an earlier split left there is removed.

    Raises:
        ValueError: the folder has such names for something else, such as a corpus's speakers.
    """
    target = Path(folder)
    if target.exists():
        old = [path for path in target.iterdir() if path.is_dir() and path.name.isdigit()]
        others = sorted(path.name for path in old if not _is_part(path))
        if others:
            raise ValueError(
                f"{target}: a folder for the parts expected, but {show_ids(others)} there "
                "are no parts of a data directory; choose another folder"
            )
        for path in old:
            shutil.rmtree(path)
    for number, part in enumerate(parts, 1):
        part.write(target / str(number))


def kept_split(folder: str | os.PathLike[str], n: int, by_speaker: bool = False) -> int:
    """Cut a directory into parts in itself, unless that was done with these versions of its tables.

    Args:
        folder: the data directory. Its parts are .splitN/1, .splitN/2, ... in it, those of whole
            speakers in .splitN.speakers.
        n: as in `split`.
        by_speaker: as in `split`.

    Returns:
        The number of parts.

    Raises:
        ValueError: the directory is wrong, or cannot be written.
    """
    source = Path(folder)
    if not (source / "wav.scp").is_file():
        DataDir.read(source)  # says what is missing
    target = source / f".split{n}{'.speakers' if by_speaker else ''}"
    with turn(source / "wav.scp"):
        tables = {name: source / name for name in _tables(source) if (source / name).exists()}
        made_of = state_of(tables)
        if (parts := _parts_of(target, made_of)) is None:
            if not os.access(source, os.W_OK):
                raise ValueError(
                    f"{source}: its parts cannot be written there; choose a folder (--output)"
                )
            shutil.rmtree(target, ignore_errors=True)
            with output_dir(target) as temporary:
                made = split(DataDir.read(source), n, by_speaker)
                write_split(temporary, made)
                note = {"tables": made_of, "parts": len(made)}
                write_text(temporary / _MADE_OF, json.dumps(note))
                parts = len(made)
    return parts


def forget_splits(folder: str | os.PathLike[str]) -> None:
    """Remove the parts that `kept_split` has left in a directory whose tables are made anew."""
    for path in Path(folder).glob(".split*"):
        shutil.rmtree(path, ignore_errors=True)


def _parts_of(folder: Path, made_of: State) -> int | None:
    """How many parts there are; None if they were made of other tables."""
    try:
        note = json.loads((folder / _MADE_OF).read_text(encoding="utf-8"))
        return int(note["parts"]) if note["tables"] == made_of else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_part(folder: Path) -> bool:
    """Whether a folder has nothing but the tables of a data directory (or a part of them)."""
    tables = _tables(folder)
    return all(name in tables or name.startswith(".") for name in os.listdir(folder))


def _tables(folder: Path) -> set[str]:
    """Names of the tables that a data directory has, or may have."""
    tables = {"wav.scp", SEGMENTS, "text", "utt2spk", "spk2utt", "utt2num_samples"}
    return tables | {path.name for path in translation_files(folder).values()}


def _merged(tables: Iterable[dict[str, _T]]) -> dict[str, _T]:
    return {key: value for table in tables for key, value in table.items()}


def _merged_if_all(tables: Sequence[dict[str, _T] | None]) -> dict[str, _T] | None:
    there = [table for table in tables if table is not None]
    return _merged(there) if len(there) == len(tables) else None


def _balanced_bounds(sizes: Sequence[int], n: int) -> list[int]:
    """n + 1 bounds of non-empty runs: an item goes where its middle falls in n equal shares."""
    total = max(1, sum(sizes))
    bounds, done = [0], 0
    for index, size in enumerate(sizes):
        share = min(n - 1, (2 * done + size) * n // (2 * total))
        rest = len(sizes) - index
        new = len(bounds) <= share or rest == n - len(bounds)
        if new and index > bounds[-1] and len(bounds) < n:
            bounds.append(index)
        done += size
    return [*bounds, len(sizes)]
