"""Stage 1: folders of recordings, each with a table of transcripts, to a Kaldi data directory."""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Read the folders, write the data directory and its report."""
    options = parser(__doc__)
    options.add_argument("--corpus", required=True, help="folder that has the parts")
    options.add_argument(
        "--parts",
        required=True,
        nargs="+",
        help="folders in it, with files like SPEAKER-NAME.wav and a file text: NAME WORDS lines",
    )
    options.add_argument("--output", required=True, help="data directory to write")
    options.add_argument("--without_text", action="store_true", help="speech alone")
    options.add_argument(
        "--max_bad_share", type=float, default=0.1, help="stop if more than this share is left out"
    )
    args = options.parse_args()

    from speechlm.data.recordings import lone_names, read_recordings
    from speechlm.data.validate import REPORT

    data, report = read_recordings(args.corpus, args.parts, not args.without_text)
    report.check_share(len(data), args.max_bad_share, f"{args.corpus} ({' '.join(args.parts)})")
    warning = lone_names(data)
    if warning:
        logging.warning(warning)
    data.write(args.output)
    report.write(f"{args.output}/{REPORT}")
    logging.info(
        "%s: %d utterances, %d speakers; %s",
        args.output,
        len(data),
        len(data.spk2utt),
        report.summary(),
    )


if __name__ == "__main__":
    run(main)
