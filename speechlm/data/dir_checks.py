"""What `DataDir.read` refuses, of a directory of any size: tables are read a line at a time."""

from __future__ import annotations

import os
from pathlib import Path

from speechlm.data.kaldi_dir import (
    MOST_SHOWN,
    check_number,
    check_path,
    show_ids,
    table_lines,
    translation_files,
)
from speechlm.data.segments import SEGMENTS, Segment, SegmentError
from speechlm.data.sorting import side_by_side


def check_dir(path: str | os.PathLike[str]) -> None:
    """Read all tables of a data directory.

    Paths of recordings are held in memory where there is a table `segments`, and nothing else is.

    Raises:
        ValueError: as `DataDir.read`.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ValueError(f"data directory expected, but {folder} is not there")
    main = _check_audio(folder)
    samples = folder / "utt2num_samples"
    if samples.exists():
        for key, value in table_lines(samples):
            check_number(value, samples, key)
    tables = [folder / "utt2spk", folder / "text", samples, *translation_files(folder).values()]
    for table in tables:
        if table.exists() or table.name == "utt2spk":
            try:
                _check_same_ids(main, table)
            except ValueError as error:
                raise ValueError(f"{folder}: {error}") from None


def _check_audio(folder: Path) -> Path:
    """Check wav.scp and segments; returns the table that has a line for each utterance."""
    main, segments = folder / "wav.scp", folder / SEGMENTS
    recordings, n = set(), 0
    for n, (name, value) in enumerate(table_lines(main), 1):  # noqa: B007 - counted
        check_path(value, f"{main}, {name}")
        if segments.exists():
            recordings.add(name)
    if not n:
        raise ValueError(f"{main} is empty: utterances expected")
    if not segments.exists():
        return main
    n = 0
    for n, (utterance, value) in enumerate(table_lines(segments), 1):  # noqa: B007 - counted
        try:
            recording = Segment.parse(value).recording
        except SegmentError as error:
            raise ValueError(f"{segments}: {utterance}: {error}") from None
        if recording not in recordings:
            raise ValueError(f"{segments}: {utterance}: {recording} is not in wav.scp")
    if not n:
        raise ValueError(f"{segments} is empty: utterances expected")
    return segments


def _check_same_ids(main: Path, table: Path) -> None:
    odd, shown = 0, list[str]()
    lines = [table_lines(main), table_lines(table, empty=table.name == "text")]
    for utterance, values in side_by_side(lines):
        if None in values:
            odd += 1
            shown += [utterance] if odd <= MOST_SHOWN else []
    if odd:
        raise ValueError(f"{main.name} and {table.name} have different ids: {show_ids(shown, odd)}")
