"""Stage 6: cluster features with k-means.

Writes an npz file with the centres and what they belong to. The frames come from a data directory
(computed on the fly, or from the archives in --feats), or from the files of parallel
sample_features jobs (--samples DIR --n JOBS; --portion, --max_frames and the features are theirs
then). Memory is that of --max_frames frames, whatever the corpus.
"""

from __future__ import annotations

import logging
from pathlib import Path

from speechlm.bin._cli import at_least, parser, run
from speechlm.bin._options import add_device, add_features, add_sampling, source_of


def main() -> None:
    """Parse, train, report."""
    options = parser(__doc__)
    options.add_argument("--data_dir", help="data directory with utt2num_samples")
    options.add_argument("--feats", help="folder of feature archives, instead of --features")
    options.add_argument("--samples", help="folder of sample_features, instead of --data_dir")
    options.add_argument("--n", type=at_least(1), default=1, help="jobs that wrote --samples")
    add_features(options)
    options.add_argument("--n_clusters", type=int, default=500, help="number of units")
    add_sampling(options)
    options.add_argument("--n_init", type=int, default=20, help="k-means++ starts to choose from")
    options.add_argument("--batch_size", type=int, default=10_000, help="frames of a batch")
    options.add_argument("--max_iter", type=int, default=100, help="passes over the sample at most")
    add_device(options)
    options.add_argument("--output", required=True, help="file to write, such as kmeans.npz")
    args = options.parse_args()
    if (args.data_dir is None) == (args.samples is None):
        raise ValueError("one of --data_dir and --samples expected")

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.tokenizers.feature_stream import report_skipped
    from speechlm.tokenizers.frame_sample import Sampling, merge_samples, sample_data
    from speechlm.tokenizers.kmeans import train_kmeans

    if args.samples is not None:
        jobs = range(1, args.n + 1)
        sample = merge_samples([Path(args.samples) / f"sample.{job}.npz" for job in jobs])
    else:
        skipped: dict[str, str] = {}
        sampling = Sampling(args.seed, args.portion, args.max_frames)
        source = source_of(args, args.feats)
        sample = sample_data(DataDir.read(args.data_dir), source, sampling, skipped)
        report_skipped(Path(args.output).parent, 1, skipped)
    model = train_kmeans(
        sample,
        args.n_clusters,
        args.seed,
        args.n_init,
        args.batch_size,
        args.max_iter,
        args.num_threads,
    )
    model.save(args.output)
    logging.info(
        "%s: %d clusters of %d frames (of %d in %d utterances), mean squared distance %.4g",
        args.output,
        model.n_clusters,
        model.training["frames"],
        sample.n_seen,
        sample.n_utterances,
        model.training["mean_squared_distance"],
    )


if __name__ == "__main__":
    run(main)
