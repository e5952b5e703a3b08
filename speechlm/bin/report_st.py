"""Stage 14: gather the translation scores of several systems into one RESULTS.md.

Prints their table.
"""

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
        help="a system's name, a test set's name, and the folder that `score_st` wrote",
    )
    options.add_argument("--command", required=True, help="command that gives these results")
    options.add_argument("--seed", required=True, type=int, help="seed of the run")
    options.add_argument(
        "--samples", type=int, default=3, help="translations of each test set to show"
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

    from speechlm.data.atomic import output_file
    from speechlm.score.report import environment, results
    from speechlm.score.sentences import SENTENCES, read_sentences
    from speechlm.score.translation import read_translation_scores, translation_table

    rows, shown = {}, {}
    for item in args.scores:
        system, test, folder = _fields(item, 3)
        rows[f"{system}/{test}"] = read_translation_scores(folder)
        sentences = read_sentences(Path(folder, SENTENCES))
        for utterance in sorted(sentences)[:: max(1, len(sentences) // max(1, args.samples))]:
            known = sentences[utterance]
            lines = shown.setdefault((test, utterance), [f"reference: {known.reference}"])
            lines.append(f"{system}: {known.hypothesis}")
    table = translation_table(rows)
    chosen = [f"{test} {u}\n\n" + "\n".join(f"- {x}" for x in shown[test, u]) for test, u in shown]
    sections = {"Translation": "BLEU and chrF, detokenised.\n\n" + table}
    if chosen:
        sections["Samples"] = "\n\n".join(chosen)
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
