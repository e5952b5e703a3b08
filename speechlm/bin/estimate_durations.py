"""Stage 5: count how long phones last in frame labels, for phoneme units of text."""

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, count, report."""
    p = parser(__doc__)
    p.add_argument("--units", nargs="+", required=True, help="folders with units.scp of labels")
    p.add_argument("--output", required=True, help="table to write (text)")
    args = p.parse_args()

    from speechlm.tokenizers.durations import estimate_from_archives

    table = estimate_from_archives(args.units)
    table.write(args.output)
    logging.info("%s: %s", args.output, table.summary())


if __name__ == "__main__":
    run(main)
