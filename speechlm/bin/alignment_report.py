"""Stage 5: compare 10 ms phone labels with reference TextGrids (39 phones and silence)."""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import fields, parser, run
from speechlm.bin._options import add_named_units


def main() -> None:
    """Parse, score, print."""
    options = parser(__doc__)
    add_named_units(options)
    options.add_argument(
        "--textgrids", type=Path, required=True, help="folder with ID.TextGrid files, at any depth"
    )
    options.add_argument("--output", type=Path, help="Markdown file of the table")
    args = options.parse_args()

    from speechlm.data.atomic import write_text
    from speechlm.score.alignment import figures_table, report_units

    rows = {}
    for item in args.units:
        name, folder = fields(item, "NAME:DIR")
        rows[name] = report_units(Path(folder), args.textgrids)
    table = figures_table(rows)
    print(table, end="")
    if args.output:
        write_text(args.output, table)


if __name__ == "__main__":
    run(main)
