"""Stage 13: translate a (split) data directory by beam search; writes OUTPUT/text.

A run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_beam, add_decoding, device_of


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    add_decoding(
        p,
        model="folder of a translation fine-tuning",
        output="folder for the files text and scores",
        batch_samples=1_600_000,
    )
    p.add_argument("--weights", help="file in the model's folder; none: valid.accuracy.ave.pth")
    add_beam(p)
    return p


def main() -> None:
    """Parse and translate."""
    args = options().parse_args()
    from speechlm.decode.beam_search import BeamOptions
    from speechlm.decode.translate import translate_dir

    wanted = BeamOptions(args.beam, args.length_penalty, args.max_tokens)
    device = device_of(args)
    done = translate_dir(
        args.model, args.data_dir, args.output, wanted, args.weights, args.batch_samples, device
    )
    logging.info("translations of %d utterances in %s", len(done), args.output)


if __name__ == "__main__":
    run(main)
