"""Stage 1: a table of Common Voice to tables of train, dev and test, by speakers.

No speaker is in two of them, and each has at least one. Which part a speaker goes to follows from a
hash of the client_id.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from speechlm.bin._cli import parser, run

PARTS = ("train", "dev", "test")


def shares_of(text: str) -> tuple[int, ...]:
    """Per cent of the speakers of each part."""
    numbers = [int(n) for n in text.split(",") if n.strip().isdecimal()]
    if len(numbers) != len(PARTS) or sum(numbers) != 100 or min(numbers) < 1:
        raise argparse.ArgumentTypeError(
            f"'{text}': three whole numbers of at least 1 that add up to 100 expected (80,10,10)"
        )
    return tuple(numbers)


def part_of_speakers(clients: set[str], shares: tuple[int, ...]) -> dict[str, str]:
    """Part of each speaker: speakers in the order of their hashes, cut by the shares."""
    if len(clients) < len(PARTS):
        raise ValueError(f"{len(clients)} speakers cannot be cut into {', '.join(PARTS)}")
    order = sorted(clients, key=lambda c: hashlib.blake2b(c.encode(), digest_size=8).digest())
    n_dev, n_test = (max(1, round(len(order) * share / 100)) for share in shares[1:])
    found = dict.fromkeys(order, "train")
    found.update(dict.fromkeys(order[:n_dev], "dev"))
    found.update(dict.fromkeys(order[n_dev : n_dev + n_test], "test"))
    return found


def main() -> None:
    """Read the table, write the three."""
    options = parser(__doc__)
    options.add_argument("--table", type=Path, required=True, help="such as validated.tsv")
    options.add_argument("--shares", type=shares_of, required=True, help="such as 80,10,10")
    options.add_argument("--output", required=True, help="folder to make")
    args = options.parse_args()

    from speechlm.data.atomic import output_dir, write_text
    from speechlm.data.common_voice import COLUMNS
    from speechlm.data.report import Report
    from speechlm.data.tsv import read_tsv

    report = Report()
    rows = read_tsv(args.table, COLUMNS, report)
    parts = part_of_speakers({row.values["client_id"] for row in rows}, args.shares)
    with output_dir(args.output) as folder:
        for part in PARTS:
            chosen = [row.values for row in rows if parts[row.values["client_id"]] == part]
            lines = [
                "\t".join(COLUMNS),
                *("\t".join(" ".join(v[c].split()) for c in COLUMNS) for v in chosen),
            ]
            write_text(folder / f"{part}.tsv", "".join(f"{line}\n" for line in lines))
        report.write(folder / "report.tsv")


if __name__ == "__main__":
    run(main)
