"""Strict reading of the TSV files of Common Voice and CoVoST.

They have a header, a row a line, and no quoting: a quote is a character like any other. A tab or
backslash inside a field has a backslash before it (CoVoST's own scripts write and read them so).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechlm.data.report import Report, tidy_lines


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    number: int
    """Line number, the header is 1."""
    values: dict[str, str]
    """By column."""


def read_tsv(path: str | os.PathLike[str], columns: Sequence[str], report: Report) -> list[Row]:
    """All sound rows; further columns than those asked for are kept.

    Rows with another number of fields than the header (a bare tab inside a sentence), with an
    escape at their end, or not in UTF-8 are left out and reported. Put right and reported: byte
    order mark, CR LF, blank lines.

    Raises:
        ValueError: the file is missing or empty, or the header lacks a column or has it twice.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{file} expected, but it is not there")
    lines = tidy_lines(file, report, lambda number, _: f"line_{number}")
    header = next(lines, None)
    if header is None:
        raise ValueError(f"{file}: a header with the columns {' '.join(columns)} expected")
    names = header[1].split("\t")
    missing = [name for name in columns if name not in names]
    if missing or len(set(names)) != len(names):
        what = f"no column {', '.join(missing)}" if missing else "a column twice"
        raise ValueError(
            f"{file}: the columns {' '.join(columns)} expected, each once, with tabs between them;"
            f" the header has {what}: {' '.join(names)[:200]}"
        )
    rows = []
    for number, line in lines:
        fields = split_fields(line)
        if fields is None or len(fields) != len(names):
            found = "an escape at its end" if fields is None else f"{len(fields)} fields"
            clip = line.split("\t")[min(names.index("path"), line.count("\t"))]
            detail = f"line {number} has {found}, the header has {len(names)}"
            report.leave_out("wrong number of fields", Path(clip).stem[:80] or "-", file, detail)
        else:
            rows.append(Row(number, dict(zip(names, fields, strict=True))))
    return rows


def split_fields(line: str) -> list[str] | None:
    """Fields between tabs; a backslash takes the next character as it is. None: it ends in one."""
    if "\\" not in line:
        return line.split("\t")
    fields, characters = [""], iter(line)
    for character in characters:
        if character == "\t":
            fields.append("")
            continue
        if character == "\\":
            character = next(characters, "")
            if not character:
                return None
        fields[-1] += character
    return fields
