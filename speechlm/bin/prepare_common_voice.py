"""Stage 1: the clips of a table of Common Voice to a Kaldi data directory."""

from __future__ import annotations

from speechlm.bin._cli import parser, run
from speechlm.bin._corpus import add_max_bad_share, prepare_corpus


def main() -> None:
    """Read the table, write the data directory and its report."""
    options = parser(__doc__)
    options.add_argument("--release", required=True, help="folder of a language: clips/, *.tsv")
    options.add_argument("--table", default="validated.tsv", help="such as train.tsv")
    options.add_argument("--language", required=True, help="language code of the speech")
    options.add_argument("--output", required=True, help="data directory to write")
    add_max_bad_share(options)
    options.add_argument("--without_text", action="store_true", help="speech alone")
    options.add_argument(
        "--exclude",
        nargs="*",
        default=[],
        help="recordings that are not taken: data directories, or files that list them",
    )
    args = options.parse_args()

    from speechlm.data.common_voice import read_common_voice
    from speechlm.data.excluded import recordings

    with_text = not args.without_text
    prepare_corpus(
        args.output,
        lambda: read_common_voice(
            args.release, args.table, args.language, with_text, recordings(args.exclude)
        ),
        f"{args.release}/{args.table}",
        args.max_bad_share,
    )


if __name__ == "__main__":
    run(main)
