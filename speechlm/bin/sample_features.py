"""Stage 6: a random sample of the frames of a (split) data directory, OUTPUT/sample.JOB.npz.

train_kmeans --samples OUTPUT --n JOBS clusters the samples of all jobs. The sample does not depend
on the number of jobs; features are computed on the fly and not stored.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_device, add_features, add_job, add_sampling, source_of


def main() -> None:
    """Parse, sample, report."""
    options = parser(__doc__)
    options.add_argument("--data_dir", required=True, help="(part of a) data directory")
    options.add_argument("--output", required=True, help="folder of the samples")
    add_job(options)
    options.add_argument("--feats", help="folder of archives to read, instead of --features")
    add_features(options)
    add_sampling(options)
    add_device(options)
    args = options.parse_args()

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.tokenizers.frame_sample import Sampling, write_sample

    sampling = Sampling(args.seed, args.portion, args.max_frames)
    source = source_of(args, args.feats)
    sample = write_sample(DataDir.read(args.data_dir), source, sampling, args.output, args.job)
    logging.info(
        "%s, job %d: sampled %d frames of %d utterances",
        args.output,
        args.job,
        sample.n_seen,
        sample.n_utterances,
    )


if __name__ == "__main__":
    run(main)
