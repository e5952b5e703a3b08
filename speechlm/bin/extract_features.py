"""Features of a (split) data directory by a trained SpeechLM; writes OUTPUT/feats.JOB.{ark,scp}.

OUTPUT/frame_shift says how long a frame is: 0.02 s, or 0.04 s of a fast model. merge_units --input
OUTPUT --n JOBS --name feats makes OUTPUT/feats.scp of all jobs.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_decoding, add_job, device_of


def main() -> None:
    """Parse, extract, report."""
    p = parser(__doc__)
    add_decoding(
        p,
        model="folder of a trained model",
        output="folder of the archives",
        batch_samples=1_600_000,
    )
    p.add_argument("--layer", default="last", help="last, or the number of a layer, from 1")
    add_job(p)
    args = p.parse_args()

    from speechlm.decode.extract import extract_dir
    from speechlm.kernels.memory import reuse_memory

    reuse_memory()
    device = device_of(args)
    n = extract_dir(
        args.model, args.data_dir, args.output, args.layer, args.job, args.batch_samples, device
    )
    logging.info("features of %d utterances in %s, job %d", n, args.output, args.job)


if __name__ == "__main__":
    run(main)
