"""Stage 14: WER and CER of one decoding; writes OUTPUT/result.txt and OUTPUT/score.json."""

from __future__ import annotations

import argparse
import logging

from speechlm.bin._cli import parser, run


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    p.add_argument("--ref", required=True, help="text of the test set")
    p.add_argument("--hyp", required=True, help="text of the decoding")
    p.add_argument("--output", required=True, help="folder for the scores")
    return p


def main() -> None:
    """Parse and score."""
    args = options().parse_args()
    from speechlm.score.error_rate import score_files

    rates = score_files(args.ref, args.hyp, args.output)
    shown = ", ".join(f"{name} {counts.rate:.1f} %" for name, counts in rates.items())
    empty = rates["WER"].empty_references
    logging.info("%s: %s (%d references without words)", args.hyp, shown, empty)


if __name__ == "__main__":
    run(main)
