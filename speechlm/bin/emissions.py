"""Stage 13: the network's log-probabilities of characters for a (split) data directory.

Writes OUTPUT/emissions.JOB.{ark,scp}; merge_units --name emissions joins the jobs. Tuning and every
decoding of the set read them.
"""

from __future__ import annotations

import argparse

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_ctc_weights, add_decoding, add_job, device_of


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    add_decoding(
        p,
        model="folder of a fine-tuning, ours or imported",
        output="folder of the archives",
        batch_samples=3_200_000,
    )
    add_ctc_weights(p)
    add_job(p)
    return p


def main() -> None:
    """Parse, run the network, write."""
    args = options().parse_args()
    from speechlm.checkpoints.load_ctc import load_model
    from speechlm.data.kaldi_dir import DataDir
    from speechlm.decode.write_emissions import write_emissions

    write_emissions(
        load_model(args.model, args.weights, device_of(args)),
        DataDir.read(args.data_dir),
        args.output,
        source=args.model,
        job=args.job,
        batch_samples=args.batch_samples,
    )


if __name__ == "__main__":
    run(main)
