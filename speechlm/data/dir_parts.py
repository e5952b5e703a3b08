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
from speechlm.data.dir_checks import check_dir
from speechlm.data.dir_split import write_parts
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


def split(
    source: str | os.PathLike[str], folder: str | os.PathLike[str], n: int, by_speaker: bool = False
) -> int:
    """Cut a data directory into folder/1 ... folder/N; what an earlier split left there is removed.

    Args:
        source: the data directory.
        folder: of the parts.
        n: as in `write_parts`.
        by_speaker: as in `write_parts`.

    Returns:
        The number of parts.

    Raises:
        ValueError: as `write_parts`, and if the folder has such names for something else, such as a
            corpus's speakers.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    old = [path for path in target.iterdir() if path.is_dir() and path.name.isdigit()]
    if others := sorted(path.name for path in old if not _is_part(path)):
        raise ValueError(
            f"{target}: a folder for the parts expected, but {show_ids(others)} there "
            "are no parts of a data directory; choose another folder"
        )
    with output_dir(target / ".parts") as temporary:
        count = write_parts(Path(source), temporary, n, by_speaker)
        for path in old:
            shutil.rmtree(path)
        for part in list(temporary.iterdir()):
            part.rename(target / part.name)
    (target / ".parts").rmdir()
    return count


def kept_split(folder: str | os.PathLike[str], n: int, by_speaker: bool = False) -> int:
    """Cut a directory into parts in itself, unless that was done with these versions of its tables.

    Args:
        folder: the data directory. Its parts are .splitN/1, .splitN/2, ... in it, those of whole
            speakers in .splitN.speakers.
        n: as in `write_parts`.
        by_speaker: as in `write_parts`.

    Returns:
        The number of parts.

    Raises:
        ValueError: the directory is wrong, or cannot be written.
    """
    source = Path(folder)
    if not ((source / "wav.scp").is_file() and (source / "utt2spk").is_file()):
        check_dir(source)  # says what is missing
    target = source / f".split{n}{'.speakers' if by_speaker else ''}"
    with turn(source / "utt2spk"):  # on wav.scp is the lock of who makes the utterances' index
        tables = {name: source / name for name in _tables(source) if (source / name).exists()}
        made_of = state_of(tables)
        if (parts := _parts_of(target, made_of)) is None:
            if not os.access(source, os.W_OK):
                raise ValueError(
                    f"{source}: its parts cannot be written there; choose a folder (--output)"
                )
            shutil.rmtree(target, ignore_errors=True)
            with output_dir(target) as temporary:
                parts = write_parts(source, temporary, n, by_speaker)
                note = {"tables": made_of, "parts": parts}
                write_text(temporary / _MADE_OF, json.dumps(note))
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
