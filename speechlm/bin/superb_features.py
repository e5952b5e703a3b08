"""Stage 11: all layers of a frozen model for a data directory, on which heads are trained.

OUTPUT/feats.scp: matrices (T, L D), the L layers of a frame behind each other; OUTPUT/features.json
says of which model they are.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_device, device_of
from speechlm.bin._superb import UPSTREAM


def main() -> None:
    """Parse, extract, report."""
    options = parser(__doc__)
    options.add_argument("--upstream", required=True, help=UPSTREAM)
    options.add_argument("--data_dir", required=True, help="data directory with utt2num_samples")
    options.add_argument("--output", required=True, help="folder of the archives")
    add_device(options)
    args = options.parse_args()

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.kernels.memory import reuse_memory
    from speechlm.superb.features import extract
    from speechlm.superb.upstream import open_upstream

    reuse_memory()
    upstream, data = open_upstream(args.upstream, device_of(args)), DataDir.read(args.data_dir)
    size = extract(upstream, data, args.output)
    logging.info("%s: layers of %d utterances, %.1f MB", args.output, len(data), size / 1e6)


if __name__ == "__main__":
    run(main)
