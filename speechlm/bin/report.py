"""Stage 14: gather the scores of several systems into one RESULTS.md and print their table."""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import at_least, fields, parser, run


def main() -> None:
    """Writes the report; prints the table over the systems."""
    options = parser(__doc__)
    options.add_argument("--title", required=True, help="first line of the report")
    options.add_argument(
        "--scores",
        required=True,
        nargs="+",
        metavar="SYSTEM:SET:DIR",
        help="a system's name, a test set's name, and the folder that `score` or `score_st` wrote",
    )
    options.add_argument("--command", required=True, help="command that gives these results")
    options.add_argument("--seed", required=True, type=int, help="seed of the run")
    options.add_argument(
        "--samples", type=at_least(0), default=3, help="translations of each test set to show"
    )
    options.add_argument(
        "--include",
        nargs="*",
        default=[],
        metavar="HEADING:FILE",
        help="further Markdown files to put at the end, each under its heading",
    )
    options.add_argument("--output", required=True, help="Markdown file to write")
    args = options.parse_args()

    from speechlm.data.atomic import write_text
    from speechlm.score.gather import Scored, sections
    from speechlm.score.report import environment, results

    scored = [Scored(*fields(item, "SYSTEM:SET:DIR")) for item in args.scores]
    table, texts = sections(scored, args.samples)
    for item in args.include:
        heading, file = fields(item, "HEADING:FILE")
        texts[heading] = Path(file).read_text(encoding="utf-8")
    root = Path(__file__).resolve().parents[2]
    text = results(args.title, args.command, args.seed, environment(root), texts)
    write_text(args.output, text)
    print(table, end="")


if __name__ == "__main__":
    run(main)
