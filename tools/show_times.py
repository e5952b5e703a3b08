#!/usr/bin/env python3
"""Prints the wall and CPU seconds of each stage from the notes of step.py, as a Markdown table.

A step that was done several times (a changed option, a resumed training, other seeds) counts every
time. CPU seconds are user and system time of all its processes on this machine. With --stages the
table has a row for each output of these stages, so that trainings of one name stand apart.
"""

import argparse
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Time:
    """Seconds of a step or a stage."""

    wall: float
    cpu: float | None
    """None: not noted (a step of an older version)."""

    def __add__(self, other: "Time") -> "Time":
        cpu = None
        if self.cpu is not None and other.cpu is not None:
            cpu = self.cpu + other.cpu
        return Time(self.wall + other.wall, cpu)

    def cells(self) -> list[str]:
        """Return both as whole numbers."""
        return [f"{self.wall:.0f}", "-" if self.cpu is None else f"{self.cpu:.0f}"]


@dataclass(frozen=True)
class Note:
    """A line of step.py: a step that was done."""

    stage: str
    step: str
    time: Time
    output: str
    """Empty: not noted (a step of an older version)."""


def read_note(line: str) -> Note:
    """Return what a line says: stage, step, seconds, CPU seconds, output (older: the first three).

    Raises:
        ValueError: it is no such line.
    """
    fields = line.split("\t")
    if len(fields) not in (3, 5):
        raise ValueError(line)
    numbers = [float(field) for field in fields[2:4]]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError(line)
    if len(fields) == 3:
        return Note(fields[0], fields[1], Time(numbers[0], None), "")
    return Note(fields[0], fields[1], Time(*numbers), fields[4])


def read_notes(path: Path) -> list[Note]:
    """Return all lines of a file.

    Raises:
        ValueError: one is of another form.
    """
    notes = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            notes.append(read_note(line))
        except ValueError:
            raise ValueError(
                f"{path}:{number}: stage, step, seconds, CPU seconds and output expected, got "
                f"'{line}'"
            ) from None
    return notes


def total(times: Iterable[Time]) -> Time:
    """Return the sum."""
    return sum(times, Time(0.0, 0.0))


def by_stage(notes: list[Note]) -> str:
    """Return the table with a row a stage, its steps summed up, and the total."""
    rows = ["| stage | seconds | CPU | steps: seconds (CPU) |", "|---|---|---|---|"]
    stages = {note.stage for note in notes}
    for stage in sorted(stages, key=lambda name: (len(name), name)):
        own = [note for note in notes if note.stage == stage]
        listing = []
        for step in dict.fromkeys(note.step for note in own):
            wall, cpu = total(note.time for note in own if note.step == step).cells()
            listing.append(f"{step} {wall} ({cpu})")
        seconds = total(note.time for note in own).cells()
        rows.append(f"| {stage} | {' | '.join(seconds)} | {', '.join(listing)} |")
    seconds = total(note.time for note in notes).cells()
    return "\n".join([*rows, f"| all | {' | '.join(seconds)} | |"]) + "\n"


def by_output(notes: list[Note], stages: list[str]) -> str:
    """Return the table with a row an output of some stages, in the order of their first end."""
    rows = ["| stage | output | seconds | CPU |", "|---|---|---|---|"]
    for stage in stages:
        own = [note for note in notes if note.stage == stage]
        for name in dict.fromkeys(note.output or note.step for note in own):
            times = (note.time for note in own if (note.output or note.step) == name)
            rows.append(f"| {stage} | {name} | {' | '.join(total(times).cells())} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("times", type=Path, help="exp/times.tsv")
    parser.add_argument("--stages", nargs="+", default=[], help="rows are outputs of these stages")
    args = parser.parse_args()
    try:
        notes = read_notes(args.times)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    print(by_output(notes, args.stages) if args.stages else by_stage(notes), end="")


if __name__ == "__main__":
    main()
