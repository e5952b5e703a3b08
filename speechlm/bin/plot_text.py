"""Draw rates over the amount of text that pre-training saw, from a table of compare_seeds."""

from __future__ import annotations

from speechlm.bin._cli import fields, parser, run


def main() -> None:
    """Draw the picture."""
    options = parser(__doc__)
    options.add_argument("--rates", required=True, help="table that compare_seeds wrote")
    options.add_argument("--test", required=True, help="test set")
    options.add_argument(
        "--amounts",
        nargs="+",
        required=True,
        metavar="LINES:SYSTEM",
        help="lines of text, or all (of --text), and the system that was trained with them",
    )
    options.add_argument("--text", help="file whose lines are all")
    options.add_argument("--output", required=True, help="PNG file to write")
    args = options.parse_args()

    from speechlm.data.text_corpus import TextCorpus
    from speechlm.pictures.rates import draw_text
    from speechlm.score.seed_tables import rates_of_test

    amounts: dict[str, int] = {}
    for item in args.amounts:
        lines, system = fields(item, "LINES:SYSTEM")
        if lines == "all":
            if args.text is None:
                raise ValueError("--amounts has 'all': --text is needed to count its lines")
            amounts[system] = len(TextCorpus(args.text))
        elif lines.isdecimal():
            amounts[system] = int(lines)
        else:
            raise ValueError(f"--amounts: a number of lines or 'all' expected, got {item!r}")
    draw_text(rates_of_test(args.rates, args.test, [*amounts]), amounts, args.output)


if __name__ == "__main__":
    run(main)
