"""Stage 8: phones with durations beside hidden units, for the text-to-unit model to learn from."""

from __future__ import annotations

import logging
from pathlib import Path

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, write, report."""
    options = parser(__doc__)
    options.add_argument(
        "--align",
        type=Path,
        required=True,
        help="forced alignments (10 ms labels) of the paired set",
    )
    options.add_argument(
        "--units", type=Path, required=True, help="folder with hidden units of the same audio"
    )
    options.add_argument(
        "--valid_share", type=float, default=0.05, help="share of the utterances that is held out"
    )
    options.add_argument("--output", type=Path, required=True, help="folder of the pairs")
    args = options.parse_args()

    from speechlm.tokenizers.aligned_units import make_pairs

    report = make_pairs(args.align, args.units, args.output, args.valid_share)
    logging.info("%s: %s", args.output, report.summary())


if __name__ == "__main__":
    run(main)
