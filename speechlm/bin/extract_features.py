"""Features of a (split) data directory by a trained SpeechLM; writes OUTPUT/feats.JOB.{ark,scp}.

merge_units --input OUTPUT --n JOBS --name feats makes OUTPUT/feats.scp of all jobs.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, extract, report."""
    p = parser(__doc__)
    p.add_argument("--model", required=True, help="folder of a trained model")
    p.add_argument("--data_dir", required=True, help="data directory with utt2num_samples")
    p.add_argument("--output", required=True, help="folder of the archives")
    p.add_argument("--layer", default="last", help="last, or the number of a layer, from 1")
    p.add_argument("--job", type=int, default=1, help="number of this part")
    p.add_argument("--batch_samples", type=int, default=1_600_000,
                   help="padded samples of a batch; results do not depend on it")  # fmt: skip
    p.add_argument("--ngpu", type=int, default=0, choices=(0, 1), help="GPUs; 0: CPU")
    p.add_argument("--num_threads", type=int, default=1, help="CPU threads")
    args = p.parse_args()

    import torch

    from speechlm.models.memory import reuse_memory
    from speechlm.tasks.extract import extract_dir

    reuse_memory()
    torch.set_num_threads(args.num_threads)
    device = "cuda" if args.ngpu else "cpu"
    n = extract_dir(
        args.model, args.data_dir, args.output, args.layer, args.job, args.batch_samples, device
    )
    logging.info("features of %d utterances in %s, job %d", n, args.output, args.job)


if __name__ == "__main__":
    run(main)
