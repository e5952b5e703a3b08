"""Compare 10 ms phone labels with reference TextGrids (39 phones and silence)."""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, score, print."""
    options = parser(__doc__)
    options.add_argument("--units", type=Path, required=True, help="folder with units.scp")
    options.add_argument(
        "--textgrids", type=Path, required=True, help="folder with ID.TextGrid files, at any depth"
    )
    options.add_argument("--output", type=Path, help="JSON file of the figures")
    args = options.parse_args()

    from speechlm.score.alignment import report_units

    report_units(args.units, args.textgrids, args.output)


if __name__ == "__main__":
    run(main)
