"""Stage 9: hidden units of a text corpus, in parallel jobs that may be interrupted.

A job that is started again goes on with what is missing; the result does not depend on the number
of jobs. When all are done, --finish checks the store and lists the lines left out.
"""

from __future__ import annotations

import logging
from pathlib import Path

from speechlm.bin._cli import at_least, parser, run


def main() -> None:
    """Generate the chunks of a job that are missing, or finish the store."""
    options = parser(__doc__)
    options.add_argument(
        "--text", type=Path, required=True, help="normalised text, one sentence a line"
    )
    options.add_argument("--model", type=Path, required=True, help="folder of train_text_to_unit")
    options.add_argument("--lexicon", type=Path, required=True, help="lexicon.txt")
    options.add_argument(
        "--durations",
        type=Path,
        help="statistics whose share of silences between words is used; none: the paper's 0.25",
    )
    options.add_argument("--seed", type=int, default=0, help="of the silences")
    options.add_argument(
        "--chunk_lines",
        type=at_least(1),
        default=10_000,
        help="lines that are generated and stored at a time",
    )
    options.add_argument("--output", type=Path, required=True, help="folder of the units")
    options.add_argument("--job", type=at_least(1), default=1, help="this job")
    options.add_argument("--nj", type=at_least(1), default=1, help="of so many")
    options.add_argument(
        "--bfloat16",
        action="store_true",
        help="compute in bfloat16: faster on processors that multiply it, and some units differ",
    )
    options.add_argument("--num_threads", type=at_least(1), default=1, help="CPU threads of a job")
    options.add_argument(
        "--replace", action="store_true", help="remove what OUTPUT has of another text or model"
    )
    options.add_argument(
        "--finish", action="store_true", help="check and report only, when all jobs are done"
    )
    args = options.parse_args()

    import torch

    from speechlm.tokenizers.text_generation import Generation, finish, generate_units

    torch.set_num_threads(args.num_threads)
    if args.finish:
        logging.info("%s: %s", args.output, finish(args.text, args.output))
        return
    task = Generation(
        args.text,
        args.model,
        args.lexicon,
        args.output,
        args.durations,
        args.seed,
        args.chunk_lines,
        args.replace,
        args.bfloat16,
    )
    n = generate_units(task, args.job, args.nj)
    logging.info("job %d of %d: %d units generated in %s", args.job, args.nj, n, args.output)


if __name__ == "__main__":
    run(main)
