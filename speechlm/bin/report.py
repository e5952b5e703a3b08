"""Stage 14: gather the scores of several systems into one RESULTS.md and print their table.

Of recognition there is a row for each system and decoder, with intervals, and a paired test between
neighbours: decoders of a system, and systems with the same decoder. Results of other runs can be
shown beside them, marked as such, if they are of the same test set.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from speechlm.bin._cli import at_least, fields, parser, run
from speechlm.bin._scores import add_scores, read_scores


def _options() -> argparse.ArgumentParser:
    """The options."""
    options = parser(__doc__)
    options.add_argument("--title", required=True, help="first line of the report")
    add_scores(options, "; rows are compared with their neighbours", required=True)
    options.add_argument(
        "--baseline",
        default="",
        metavar="SYSTEM",
        help="a system of --scores that the others are compared with, too; rows that are not "
        "better are pointed out",
    )
    options.add_argument("--command", required=True, help="command that gives these results")
    options.add_argument("--seed", required=True, type=int, help="seed of the run")
    options.add_argument(
        "--resamples",
        type=at_least(100),
        default=1000,
        help="of the intervals and paired tests of recognition, by the seed of the run",
    )
    options.add_argument(
        "--samples", type=at_least(0), default=3, help="translations of each test set to show"
    )
    options.add_argument(
        "--kept",
        metavar="FILE",
        help="table of recognition results of other runs (speechlm/score/kept.py), which become "
        "rows that are marked as such",
    )
    options.add_argument(
        "--pictures", nargs="*", default=[], metavar="FILE", help="PNG files to show, in this order"
    )
    options.add_argument(
        "--no_pictures",
        nargs="*",
        default=[],
        metavar="WHAT:REASON",
        help="pictures that there could be, and why there are not",
    )
    options.add_argument(
        "--include",
        nargs="*",
        action="extend",
        default=[],
        metavar="HEADING:FILE",
        help="further Markdown files to put at the end, each under its heading",
    )
    options.add_argument("--output", required=True, help="Markdown file to write")
    return options


def main() -> None:
    """Writes the report; prints the table over the systems."""
    args = _options().parse_args()

    from speechlm.data.atomic import write_text
    from speechlm.pictures.gallery import show_pictures
    from speechlm.score.gather import sections
    from speechlm.score.kept import read_kept
    from speechlm.score.report import environment, results

    scored = read_scores(args.scores)
    kept = read_kept(args.kept) if args.kept else []
    table, texts = sections(scored, args.samples, args.resamples, args.seed, kept, args.baseline)
    missing = [fields(item, "WHAT:REASON") for item in args.no_pictures]
    if args.pictures or missing:
        texts["Pictures"] = show_pictures(args.pictures, missing, Path(args.output).parent)
    for item in args.include:
        heading, file = fields(item, "HEADING:FILE")
        texts[heading] = Path(file).read_text(encoding="utf-8")
    root = Path(__file__).resolve().parents[2]
    text = results(args.title, args.command, args.seed, environment(root), texts)
    write_text(args.output, text)
    print(table, end="")


if __name__ == "__main__":
    run(main)
