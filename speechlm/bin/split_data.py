"""Stages 4, 5, 6, 7 and 13: cut a data directory into parts of about equal length.

The parts are for parallel jobs; `egs/TEMPLATE/parallel.sh` calls this.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import at_least, parser, run


def main() -> None:
    """Split and write; prints the number of parts."""
    options = parser(__doc__)
    options.add_argument("--input", required=True, help="data directory to read")
    options.add_argument("--n", required=True, type=at_least(1), help="number of parts")
    options.add_argument(
        "--output",
        help="folder for 1 ... N, written anew (default: INPUT/.splitN, with --by_speaker"
        " INPUT/.splitN.speakers, which is kept for the next step that asks for it)",
    )
    options.add_argument(
        "--by_speaker", action="store_true", help="keep all utterances of a speaker in one part"
    )
    args = options.parse_args()

    from speechlm.data.dir_parts import kept_split, split

    if args.output:
        count = split(args.input, args.output, args.n, args.by_speaker)
    else:
        count = kept_split(args.input, args.n, args.by_speaker)
    if count < args.n:
        what = "speakers" if args.by_speaker else "utterances"
        logging.warning("%s: %d parts, because there are no more %s", args.input, count, what)
    print(count)


if __name__ == "__main__":
    run(main)
