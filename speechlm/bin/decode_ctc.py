"""Stage 13: greedy CTC decoding of a (split) data directory; writes OUTPUT/text."""

from __future__ import annotations

import argparse
import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_ctc_weights, add_decoding, device_of


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    add_decoding(
        p,
        model="folder of a fine-tuning",
        output="folder for the file text",
        batch_samples=3_200_000,
    )
    add_ctc_weights(p)
    return p


def main() -> None:
    """Parse and decode."""
    args = options().parse_args()
    from speechlm.decode.ctc_greedy import decode_dir

    device = device_of(args)
    decoded = decode_dir(
        args.model, args.data_dir, args.output, args.weights, args.batch_samples, device
    )
    logging.info("hypotheses of %d utterances in %s", len(decoded.text), args.output)


if __name__ == "__main__":
    run(main)
