"""Stage 14: draw which phones units stand for, by alignments: a row a phone, a column a unit."""

from __future__ import annotations

from speechlm.bin._cli import at_least, parser, run


def main() -> None:
    """Count, draw the picture."""
    options = parser(__doc__)
    options.add_argument("--units", required=True, help="folder of unit archives")
    options.add_argument("--name", default="units", help="what the picture calls the units")
    options.add_argument(
        "--alignments", required=True, help="folder with units.scp of phones of the same utterances"
    )
    options.add_argument(
        "--max_utterances", type=at_least(1), default=2000, help="that are counted, evenly chosen"
    )
    options.add_argument("--output", required=True, help="PNG file to write")
    args = options.parse_args()

    from speechlm.pictures.samples import SomeArrays
    from speechlm.pictures.units import draw_units
    from speechlm.score.unit_quality import Alignments, count_units

    phones = Alignments(args.alignments)
    some = SomeArrays(args.units, args.max_utterances, phones)
    counts = count_units(args.units, phones, some)
    draw_units(counts, args.name, args.output)


if __name__ == "__main__":
    run(main)
