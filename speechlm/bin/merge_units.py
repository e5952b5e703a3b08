"""Stages 4, 5, 6, 7 and 13: join the archive indices of parallel jobs into one.

With --data the labels are checked against the audio, too. Utterances that the jobs have listed
in skipped.JOB need no labels; their number is reported.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import at_least, parser, run


def main() -> None:
    """Merge NAME.1.scp ... NAME.n.scp of a folder; with --data count the labels too."""
    options = parser(__doc__)
    options.add_argument("--input", required=True, help="folder of the archives")
    options.add_argument("--n", required=True, type=at_least(1), help="number of jobs")
    options.add_argument("--name", default="units", help="name of the archives")
    options.add_argument("--data", help="dump directory whose audio the labels must fit")
    args = options.parse_args()

    from speechlm.data.archives import merge_archives, read_skipped
    from speechlm.data.kaldi_dir import show_ids
    from speechlm.data.unit_index import check_units

    n = merge_archives(args.input, args.n, args.name)
    skipped = read_skipped(args.input, args.n)
    if not n:
        reasons = [f"{u} ({why})" for u, why in sorted(skipped.items())]
        raise ValueError(f"{args.input}: no job has made any {args.name}: {show_ids(reasons)}")
    if args.data:
        problems = check_units(args.input, args.data, skipped, args.name)
        if problems:
            shown = "".join(f"\n  {u}: {what}" for u, what in list(problems.items())[:5])
            raise ValueError(f"{args.input} does not fit {args.data}: {len(problems)} ids{shown}")
    logging.info(
        "%s/%s.scp: %d utterances of %d jobs, %d left out by them",
        args.input,
        args.name,
        n,
        args.n,
        len(skipped),
    )


if __name__ == "__main__":
    run(main)
