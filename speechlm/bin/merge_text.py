"""Stage 13: put the hypotheses of decoding jobs together; writes OUTPUT/text, sorted."""

from __future__ import annotations

import argparse
import logging

from speechlm.bin._cli import parser, run


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    p.add_argument("--input", required=True, nargs="+", help="folders of the jobs")
    p.add_argument("--output", required=True, help="folder for the file text")
    return p


def main() -> None:
    """Parse and merge."""
    args = options().parse_args()
    from speechlm.decode.hypotheses import merge_hypotheses

    logging.info("%d hypotheses in %s", merge_hypotheses(args.input, args.output), args.output)


if __name__ == "__main__":
    run(main)
