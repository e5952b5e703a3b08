"""Stage 14: gather the scores of several systems into one RESULTS.md and print their table."""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import parser, run


def main() -> None:
    """Writes the report; prints the table over the systems."""
    options = parser(__doc__)
    options.add_argument("--title", required=True, help="first line of the report")
    options.add_argument(
        "--scores",
        required=True,
        nargs="+",
        metavar="SYSTEM:SET:DIR",
        help="a system's name, a test set's name, and the folder that `score` wrote",
    )
    options.add_argument("--command", required=True, help="command that gives these results")
    options.add_argument("--seed", required=True, type=int, help="seed of the run")
    options.add_argument(
        "--include",
        nargs="*",
        default=[],
        metavar="HEADING:FILE",
        help="further Markdown files to put at the end, each under its heading",
    )
    options.add_argument("--output", required=True, help="Markdown file to write")
    args = options.parse_args()

    from speechlm.data.atomic import output_file
    from speechlm.score.error_rate import ErrorCounts
    from speechlm.score.report import environment, error_table, read_scores, results, systems_table

    scores: dict[str, dict[str, dict[str, ErrorCounts]]] = {}
    for item in args.scores:
        system, test, folder = _fields(item, 3)
        scores.setdefault(system, {})[test] = read_scores(folder)
    table = systems_table(scores)
    sections = {"Systems": "Error rates in percent.\n\n" + table}
    for kind in ("WER", "CER"):
        rows = {f"{s}/{t}": n[kind] for s, tests in scores.items() for t, n in tests.items()}
        sections[kind] = error_table(rows)
    for item in args.include:
        heading, file = _fields(item, 2)
        sections[heading] = Path(file).read_text(encoding="utf-8")
    root = Path(__file__).resolve().parents[2]
    text = results(args.title, args.command, args.seed, environment(root), sections)
    with output_file(args.output) as path:
        path.write_text(text, encoding="utf-8")
    print(table, end="")


def _fields(item: str, count: int) -> list[str]:
    """The parts of A:B:C; the last may contain colons."""
    parts = item.split(":", count - 1)
    if len(parts) != count or not all(parts):
        raise ValueError(f"expected {count} parts with colons between them, got {item!r}")
    return parts


if __name__ == "__main__":
    run(main)
