"""Draw rates of systems and decoders over seeds, with intervals, from a table of compare_seeds."""

from __future__ import annotations

from speechlm.bin._cli import parser, run


def main() -> None:
    """Draw the picture."""
    options = parser(__doc__)
    options.add_argument("--rates", required=True, help="table that compare_seeds wrote")
    options.add_argument("--test", required=True, help="test set")
    options.add_argument("--systems", nargs="+", help="these, in this order; default: all")
    options.add_argument("--output", required=True, help="PNG file to write")
    args = options.parse_args()

    from speechlm.score.rate_pictures import draw_systems
    from speechlm.score.seed_tables import rates_of_test

    draw_systems(rates_of_test(args.rates, args.test, args.systems), args.output)


if __name__ == "__main__":
    run(main)
