"""Stage 1: a part of CoVoST 2, on a release of Common Voice, to a Kaldi data directory.

Writes text (transcripts) and text.LANG (translations) and lists what is left out in report.tsv.
"""

from __future__ import annotations

from speechlm.bin._cli import parser, run
from speechlm.bin._corpus import add_max_bad_share, prepare_corpus


def main() -> None:
    """Read the part, write the data directory and its report."""
    options = parser(__doc__)
    options.add_argument(
        "--common_voice", required=True, help="folder of the source language: clips/, validated.tsv"
    )
    options.add_argument(
        "--translations", required=True, help="folder of CoVoST's TSV files, or one such file"
    )
    options.add_argument("--source", required=True, help="language code of the speech")
    options.add_argument(
        "--target", required=True, nargs="+", help="language codes of the translations"
    )
    options.add_argument(
        "--part", required=True, choices=("train", "dev", "test"), help="of the corpus"
    )
    options.add_argument("--output", required=True, help="data directory to write")
    add_max_bad_share(options)
    args = options.parse_args()

    from speechlm.data.covost import Direction, read_covost

    direction = Direction(args.source, args.target)
    prepare_corpus(
        args.output,
        lambda: read_covost(args.common_voice, args.translations, direction, args.part),
        f"{args.translations}, {args.part}",
        args.max_bad_share,
    )


if __name__ == "__main__":
    run(main)
