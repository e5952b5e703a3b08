"""Stage 13: greedy CTC decoding of a (split) data directory; writes OUTPUT/text."""

from __future__ import annotations

import argparse
import logging

from speechlm.bin._cli import parser, run


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    p.add_argument("--model", required=True, help="folder of a fine-tuning")
    p.add_argument("--data_dir", required=True, help="data directory with utt2num_samples")
    p.add_argument("--output", required=True, help="folder for the file text")
    p.add_argument("--weights", help="file in the model's folder; none: valid.cer_ctc.ave.pth")
    p.add_argument("--batch_samples", type=int, default=3_200_000,
                   help="padded samples of a batch; results do not depend on it")  # fmt: skip
    p.add_argument("--ngpu", type=int, default=0, choices=(0, 1), help="GPUs; 0: CPU")
    p.add_argument("--num_threads", type=int, default=1, help="CPU threads")
    return p


def main() -> None:
    """Parse and decode."""
    args = options().parse_args()
    import torch

    from speechlm.decode.ctc_greedy import decode_dir

    torch.set_num_threads(args.num_threads)
    device = "cuda" if args.ngpu else "cpu"
    decoded = decode_dir(
        args.model, args.data_dir, args.output, args.weights, args.batch_samples, device
    )
    logging.info("hypotheses of %d utterances in %s", len(decoded.text), args.output)


if __name__ == "__main__":
    run(main)
