"""Stage 2: draw lines of a text at random, for trainings that are to see less of it."""

from __future__ import annotations

import logging

from speechlm.bin._cli import at_least, parser, run


def main() -> None:
    """Draw, and say how many of how many."""
    options = parser(__doc__)
    options.add_argument("--input", required=True, help="text, a sentence a line")
    options.add_argument("--lines", required=True, type=at_least(1), help="how many to draw")
    options.add_argument(
        "--seed", type=int, default=1, help="of the draw; fewer lines are among more of one seed"
    )
    options.add_argument("--output", required=True, help="file to write")
    args = options.parse_args()

    from speechlm.data.text_sample import sample_text

    total = sample_text(args.input, args.output, args.lines, args.seed)
    logging.info("%s: %d of the %d lines of %s", args.output, args.lines, total, args.input)


if __name__ == "__main__":
    run(main)
