"""Stage 1: folders of recordings, each with a table of transcripts, to a Kaldi data directory."""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._corpus import add_language, add_max_bad_share, prepare_corpus


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
    add_language(options)
    options.add_argument("--without_text", action="store_true", help="speech alone")
    add_max_bad_share(options)
    args = options.parse_args()

    from speechlm.data.language import chosen
    from speechlm.data.recordings import lone_names, read_recordings

    data = prepare_corpus(
        args.output,
        lambda: read_recordings(
            args.corpus, args.parts, not args.without_text, chosen(args.language)
        ),
        f"{args.corpus} ({' '.join(args.parts)})",
        args.max_bad_share,
    )
    warning = lone_names(data)
    if warning:
        logging.warning(warning)


if __name__ == "__main__":
    run(main)
