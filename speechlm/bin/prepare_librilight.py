"""Stage 1: parts of Libri-Light, or of a corpus in its layout, to a Kaldi data directory.

Long recordings are cut into segments, by the tables of voice activity that are beside them or else
by energy. The audio stays where it is: OUTPUT/segments says which utterance is which part of it.
"""

from __future__ import annotations

from speechlm.bin._cli import at_least, parser, run
from speechlm.bin._corpus import add_max_bad_share, prepare_corpus


def main() -> None:
    """Read the parts, write the data directory and its report."""
    options = parser(__doc__)
    options.add_argument("--corpus", required=True, help="folder that has the parts")
    options.add_argument("--parts", required=True, nargs="+", help="such as small medium large")
    options.add_argument("--output", required=True, help="data directory to write")
    add_max_bad_share(options)
    options.add_argument("--max_seconds", type=float, default=30.0, help="no segment is longer (s)")
    options.add_argument(
        "--min_seconds", type=float, default=2.0, help="shorter ones (s) are left out"
    )
    options.add_argument(
        "--max_pause", type=float, default=2.0, help="longer pauses (s) are in no segment"
    )
    options.add_argument("--nj", type=at_least(1), default=1, help="processes")
    args = options.parse_args()

    from speechlm.data.librilight import read_librilight
    from speechlm.data.voice_activity import CutOptions

    lengths = CutOptions(args.max_seconds, args.min_seconds, args.max_pause)
    prepare_corpus(
        args.output,
        lambda: read_librilight(args.corpus, args.parts, lengths, args.nj),
        args.corpus,
        args.max_bad_share,
    )


if __name__ == "__main__":
    run(main)
