"""Stage 2: check the audio and transcripts of a data directory and bring it to one format.

Mono FLAC of the right rate is read in place; other audio is converted into OUTPUT/audio.
What is wrong is left out and listed in OUTPUT/report.tsv with counts. On a cluster the same is
done in jobs: --plan, then --job 1 to --job NJ on any machines, then --finish. A job that is started
again reads only the files that it has not read before, or that have changed.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import at_least, parser, run
from speechlm.conventions import SAMPLE_RATE


def main() -> None:
    """Format a directory, report counts."""
    options = parser(__doc__)
    options.add_argument("--input", required=True, help="data directory to read")
    options.add_argument("--output", required=True, help="dump directory to write")
    options.add_argument("--rate", type=int, default=SAMPLE_RATE, help="sampling rate (Hz)")
    options.add_argument(
        "--min_seconds", type=float, default=0.0, help="shorter ones (s) are filtered"
    )
    options.add_argument(
        "--max_seconds", type=float, default=float("inf"), help="longer ones (s) are filtered"
    )
    options.add_argument(
        "--quick",
        action="store_true",
        help="decode only the end of FLAC files: finds wrong lengths, no damage inside, no silence;"
        " other formats are always decoded",
    )
    options.add_argument(
        "--mix_channels", action="store_true", help="take the mean of several channels"
    )
    options.add_argument(
        "--max_bad_share", type=float, default=0.1, help="stop if more than this share is wrong"
    )
    options.add_argument("--nj", type=at_least(1), default=1, help="processes, or jobs")
    phase = options.add_mutually_exclusive_group()
    phase.add_argument("--plan", action="store_true", help="only say what each of --nj jobs does")
    phase.add_argument("--job", type=at_least(1), help="only do what the plan has for this job")
    phase.add_argument("--finish", action="store_true", help="only put together what jobs found")
    args = options.parse_args()

    from speechlm.data.format import format_data
    from speechlm.data.format_finish import finish_parts
    from speechlm.data.format_options import FormatOptions
    from speechlm.data.format_parts import plan_parts, prepare_part

    wanted = FormatOptions(
        rate=args.rate,
        quick=args.quick,
        mix_channels=args.mix_channels,
        min_seconds=args.min_seconds,
        max_seconds=args.max_seconds,
        max_bad_share=args.max_bad_share,
    )
    if args.plan:
        plan_parts(args.input, args.output, wanted, args.nj)
        return
    if args.job:
        n = prepare_part(args.output, wanted, args.job)
        logging.info("%s: %d files read in job %d of %d", args.output, n, args.job, args.nj)
        return
    make = finish_parts if args.finish else format_data
    data, report = make(args.input, args.output, wanted, args.nj)
    hours = data.total_samples() / args.rate / 3600
    logging.info("%s: %d utterances, %.2f h; %s", args.output, len(data), hours, report.summary())


if __name__ == "__main__":
    run(main)
