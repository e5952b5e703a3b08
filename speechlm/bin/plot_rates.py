"""Stage 14: draw error rates of systems and decoders with intervals: of one run, or over seeds.

Of one run from the folders of its scores (--scores), with intervals over utterances; over seeds
from a table of compare_seeds (--rates).
"""

from __future__ import annotations

from speechlm.bin._cli import at_least, parser, run
from speechlm.bin._scores import add_scores, read_scores


def main() -> None:
    """Draw the picture."""
    options = parser(__doc__)
    add_scores(options, ", of one test set")
    options.add_argument(
        "--resamples", type=at_least(100), default=1000, help="of the intervals of --scores"
    )
    options.add_argument("--seed", type=at_least(0), default=1, help="of the resamples")
    options.add_argument("--rates", help="table that compare_seeds wrote")
    options.add_argument("--test", help="test set in it")
    options.add_argument("--systems", nargs="+", help="these of it, in this order; default: all")
    options.add_argument("--output", required=True, help="PNG file to write")
    args = options.parse_args()

    from speechlm.pictures.rates import draw_systems
    from speechlm.score.run_rates import rates_of_run
    from speechlm.score.seed_tables import rates_of_test

    if (args.scores is None) == (args.rates is None) or (args.rates and not args.test):
        raise ValueError("--scores expected, or --rates and --test")
    if args.scores:
        rates = rates_of_run(read_scores(args.scores), args.resamples, args.seed)
    else:
        rates = rates_of_test(args.rates, args.test, args.systems)
    draw_systems(rates, args.output)


if __name__ == "__main__":
    run(main)
