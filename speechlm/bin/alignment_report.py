"""Stage 5: compare 10 ms phone labels with reference TextGrids (39 phones and silence)."""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, score, print."""
    options = parser(__doc__)
    options.add_argument(
        "--units",
        nargs="+",
        required=True,
        metavar="NAME:DIR",
        help="a name for the table, and a folder with units.scp",
    )
    options.add_argument(
        "--textgrids", type=Path, required=True, help="folder with ID.TextGrid files, at any depth"
    )
    options.add_argument("--output", type=Path, help="Markdown file of the table")
    args = options.parse_args()

    from speechlm.data.atomic import output_file
    from speechlm.score.alignment import figures_table, report_units

    rows = {}
    for item in args.units:
        name, colon, folder = item.partition(":")
        if not (name and colon and folder):
            raise ValueError(f"--units takes NAME:DIR, not {item!r}")
        rows[name] = report_units(Path(folder), args.textgrids)
    table = figures_table(rows)
    print(table, end="")
    if args.output:
        with output_file(args.output) as path:
            path.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    run(main)
