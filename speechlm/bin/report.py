"""Stage 14: RESULTS.md with a table over systems and the scores of each."""

from __future__ import annotations

import argparse

from speechlm.bin._cli import parser, run


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    p.add_argument("--system", required=True, action="append", nargs="+", metavar=("NAME", "DIR"),
                   help="name and scored folders (exp/asr_X/decode_TEST ...) of a system; once a "
                   "system, in the order of the table")  # fmt: skip
    p.add_argument("--command", default="", help="how the results can be made again")
    p.add_argument("--output", default="RESULTS.md", help="file to write")
    return p


def main() -> None:
    """Parse, write and print."""
    args = options().parse_args()
    from speechlm.score.report import write_results

    systems = {name: folders for name, *folders in args.system}
    if len(systems) < len(args.system) or not all(systems.values()):
        raise ValueError("--system: expected different names, each with at least one folder")
    print(write_results(args.output, systems, args.command))


if __name__ == "__main__":
    run(main)
