"""Features for k-means of a (split) data directory, as Kaldi archives OUTPUT/feats.JOB.{ark,scp}.

merge_units --input OUTPUT --n JOBS --name feats makes OUTPUT/feats.scp of all jobs. Archives are
optional: sample_features, train_kmeans and apply_kmeans compute features on the fly as well.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_device, add_features, add_job, computed_source


def main() -> None:
    """Parse, compute, report."""
    options = parser(__doc__)
    options.add_argument("--data_dir", required=True, help="(part of a) data directory")
    options.add_argument("--output", required=True, help="folder of the archives")
    add_job(options)
    add_features(options)
    add_device(options)
    args = options.parse_args()

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.tokenizers.feature_stream import write_features

    n = write_features(DataDir.read(args.data_dir), computed_source(args), args.output, args.job)
    logging.info("features of %d utterances in %s, job %d", n, args.output, args.job)


if __name__ == "__main__":
    run(main)
