#!/usr/bin/env python3
"""Prints the wall time of each stage from the notes of step.py, as a Markdown table.

A step that was done several times (a changed option, a resumed training) counts every time.
"""

import argparse
from pathlib import Path


def stage_times(path: Path) -> dict[str, list[tuple[str, float]]]:
    """Return {stage: [(step, seconds), ...]} of a file with stage, step, seconds on each line."""
    stages: dict[str, list[tuple[str, float]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split("\t")
        try:
            stage, step, seconds = fields[0], fields[1], float(fields[2])
        except (IndexError, ValueError):
            raise ValueError(
                f"{path}:{number}: stage, step and seconds expected, got '{line}'"
            ) from None
        stages.setdefault(stage, []).append((step, seconds))
    return stages


def table(stages: dict[str, list[tuple[str, float]]]) -> str:
    """Return the table: a row a stage, with its steps summed up, and the total."""
    rows = ["| stage | seconds | steps |", "|---|---|---|"]
    total = 0.0
    for stage in sorted(stages, key=lambda name: (len(name), name)):
        steps: dict[str, float] = {}
        for step, seconds in stages[stage]:
            steps[step] = steps.get(step, 0.0) + seconds
        total += sum(steps.values())
        listing = ", ".join(f"{step} {seconds:.0f}" for step, seconds in steps.items())
        rows.append(f"| {stage} | {sum(steps.values()):.0f} | {listing} |")
    return "\n".join([*rows, f"| all | {total:.0f} | |"]) + "\n"


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
