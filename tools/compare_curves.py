#!/usr/bin/env python3
"""Puts the loss curves of trainings side by side, from their train.log.

    python tools/compare_curves.py exp/float32/train.log exp/bfloat16/train.log

Rows: the training loss of every reported stretch of updates, and the validation loss of every
epoch. The last column is the largest difference from the first training, in percent of it.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

# ESPnet leaves the comma out at one place of a stretch: "feature_penalty=0.046loss=11.982".
_STRETCH = re.compile(r"(\d+)epoch:train:(\d+-\d+)batch: .*?(?<![A-Za-z_])loss=([-+.\de]+|nan)")
_EPOCH = re.compile(r"(\d+)epoch results: .*?\[valid\] .*?\bloss=([-+.\de]+|nan)")


def read_curve(path: Path) -> dict[str, float]:
    """Label of a stretch or epoch -> loss.

    Raises:
        ValueError: no loss in the file.
    """
    curve = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := _STRETCH.search(line):
            curve[f"epoch {match[1]} updates {match[2]}"] = float(match[3])
        elif match := _EPOCH.search(line):
            curve[f"epoch {match[1]} validation"] = float(match[2])
    if not curve:
        raise ValueError(f"{path}: expected the train.log of a training, found no loss in it")
    return curve


def table(curves: list[dict[str, float]], names: list[str]) -> str:
    """Markdown rows for what all the curves have."""
    rows = ["| | " + " | ".join(names) + " | difference, % |", "|---" * (len(names) + 2) + "|"]
    for label in curves[0]:
        if all(label in curve for curve in curves):
            losses = [curve[label] for curve in curves]
            worst = max(abs(loss / losses[0] - 1) for loss in losses)
            cells = [f"{loss:.3f}" for loss in losses] + [f"{100 * worst:.1f}"]
            rows.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Reads the logs, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("logs", nargs="+", type=Path, metavar="train.log")
    logs = parser.parse_args().logs
    try:
        print(table([read_curve(log) for log in logs], [log.parent.name for log in logs]))
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
