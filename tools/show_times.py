#!/usr/bin/env python3
"""Prints the wall and CPU seconds of each stage from the notes of step.py, as a Markdown table.

A step that was done several times (a changed option, a resumed training) counts every time. CPU
seconds are user and system time of all its processes on this machine.
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


def read_time(fields: list[str]) -> Time:
    """Return the time of a line's third field and, if it has one, fourth.

    Raises:
        ValueError: they are no times.
    """
    if not 3 <= len(fields) <= 4:
        raise ValueError(fields)
    numbers = [float(field) for field in fields[2:]]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError(fields)
    return Time(numbers[0], numbers[1] if len(numbers) > 1 else None)


def stage_times(path: Path) -> dict[str, dict[str, Time]]:
    """Return {stage: {step: time}} of a file with stage, step, wall, CPU seconds on each line."""
    stages: dict[str, dict[str, Time]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split("\t")
        try:
            time = read_time(fields)
        except ValueError:
            raise ValueError(
                f"{path}:{number}: stage, step, seconds and CPU seconds expected, got '{line}'"
            ) from None
        steps = stages.setdefault(fields[0], {})
        steps[fields[1]] = steps.get(fields[1], Time(0.0, 0.0)) + time
    return stages


def total(times: Iterable[Time]) -> Time:
    """Return the sum."""
    return sum(times, Time(0.0, 0.0))


def table(stages: dict[str, dict[str, Time]]) -> str:
    """Return the table: a row a stage, with its steps summed up, and the total."""
    rows = ["| stage | seconds | CPU | steps: seconds (CPU) |", "|---|---|---|---|"]
    sums = {stage: total(steps.values()) for stage, steps in stages.items()}
    for stage in sorted(stages, key=lambda name: (len(name), name)):
        shown = {step: time.cells() for step, time in stages[stage].items()}
        listing = ", ".join(f"{step} {wall} ({cpu})" for step, (wall, cpu) in shown.items())
        rows.append(f"| {stage} | {' | '.join(sums[stage].cells())} | {listing} |")
    return "\n".join([*rows, f"| all | {' | '.join(total(sums.values()).cells())} | |"]) + "\n"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("times", type=Path, help="exp/times.tsv")
    args = parser.parse_args()
    try:
        print(table(stage_times(args.times)), end="")
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
