"""Stage 7: phone purity, cluster purity and PNMI of units against alignments and TextGrids.

Prints a Markdown table; with --output the table is in OUTPUT/units.md. plot_units draws what the
purities are made of.
"""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import fields, parser, run
from speechlm.bin._options import add_named_units


def main() -> None:
    """Parse, count, print."""
    options = parser(__doc__)
    add_named_units(options)
    options.add_argument("--alignments", help="folder with units.scp of phones")
    options.add_argument("--textgrids", help="folder with ID.TextGrid files, at any depth")
    options.add_argument("--output", type=Path, help="folder for the table")
    args = options.parse_args()

    from speechlm.data.atomic import write_text
    from speechlm.score import unit_quality as quality

    references: dict[str, quality.Reference] = {}
    if args.alignments:
        references["alignments"] = quality.Alignments(args.alignments)
    if args.textgrids:
        references["TextGrids"] = quality.TextGrids(args.textgrids)
    if not references:
        raise ValueError("--alignments or --textgrids expected, or both")
    rows = []
    for item in args.units:
        name, folder = fields(item, "NAME:DIR")
        for kind, reference in references.items():
            rows.append((name, kind, quality.count_units(folder, reference)))
    table = quality.quality_table(rows)
    print(table, end="")
    if args.output:
        write_text(args.output / "units.md", table)


if __name__ == "__main__":
    run(main)
