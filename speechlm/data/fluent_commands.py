"""Fluent Speech Commands (Lugosch et al. 2019), for intent classification.

    ROOT/data/{train,valid,test}_data.csv: path, speakerId, transcription, action, object, location
    ROOT/wavs/speakers/SPEAKER/NAME.wav, as the column path says

An intent is the three of action, object and location together.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from speechlm.data.report import Report
from speechlm.data.task_data import DEV, TEST, TRAIN, Collector, TaskData
from speechlm.data.whole_files import read_lines

FILES = {TRAIN: "train_data.csv", DEV: "valid_data.csv", TEST: "test_data.csv"}
SLOTS = ("action", "object", "location")
COLUMNS = ("path", "speakerId", *SLOTS)


def read_fluent_commands(corpus: str | os.PathLike[str]) -> tuple[TaskData, Report]:
    """Read the corpus; a label is `ACTION OBJECT LOCATION`, blanks inside them as `_`.

    Raises:
        ValueError: a table is not there, or lacks a column.
    """
    report = Report()
    found = Collector(report)
    root = Path(corpus)
    for group, name in FILES.items():
        path = root / "data" / name
        if not path.is_file():
            raise ValueError(f"Fluent Speech Commands: {path} expected, but it is not there")
        rows = csv.DictReader(read_lines(path, "table"))
        try:
            absent = [c for c in COLUMNS if c not in (rows.fieldnames or ())]
            if absent:
                raise ValueError(f"{path}: a column {', '.join(absent)} expected, it is not there")
            for row in rows:
                _add(found, row, root, group, f"{path}:{rows.line_num}")
        except csv.Error as error:
            raise ValueError(f"{path}:{rows.line_num}: no line of a table: {error}") from None
    return found.finish(), report


def _add(found: Collector, row: dict[str, str], root: Path, group: str, where: str) -> None:
    missing = [column for column in COLUMNS if not (row[column] or "").strip()]
    if missing:
        found.report.leave_out("empty field", row["path"] or where, where, ", ".join(missing))
        return
    label = " ".join("_".join(row[slot].split()) for slot in SLOTS)
    path = root / row["path"]
    found.add(path.stem, row["speakerId"].strip(), path, group, label)
