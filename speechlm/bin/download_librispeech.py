"""Stage 1: download parts of LibriSpeech (openslr.org/12), or its language models and their text.

An interrupted download continues where it was; checksums are verified.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Download and unpack what is missing."""
    options = parser(__doc__)
    options.add_argument("--parts", nargs="*", default=[], help="such as train-clean-100 dev-clean")
    options.add_argument("--text", action="store_true", help="text (1.5 GB) and lexicon too")
    options.add_argument(
        "--lm",
        action="store_true",
        help="pruned 3-gram, 4-gram and list of words (1.4 GB), for decoding",
    )
    options.add_argument("--output", required=True, help="folder; audio goes to OUTPUT/LibriSpeech")
    options.add_argument("--mirror", help="base URL to use instead of openslr.org's")
    args = options.parse_args()
    if not (args.parts or args.text or args.lm):
        raise ValueError("--parts, --text or --lm expected: what is to be downloaded?")

    from speechlm.data.download import Source, download_lm, download_parts, download_text

    source = Source((args.mirror,)) if args.mirror else Source()
    download_parts(args.parts, args.output, source)
    if args.text:
        download_text(args.output, source)
    if args.lm:
        download_lm(args.output, source)
    logging.info("%s: complete", args.output)


if __name__ == "__main__":
    run(main)
