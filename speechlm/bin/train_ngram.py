"""Stage 3: estimate an n-gram language model of words (interpolated modified Kneser-Ney)."""

import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_texts


def main() -> None:
    """Parse, estimate, report."""
    p = parser(__doc__)
    add_texts(p, "one sentence a line")
    p.add_argument(
        "--vocabulary", help="words of the model, one a line, or a lexicon; else those of the texts"
    )
    p.add_argument("--order", type=int, default=3, help="3 for trigrams")
    p.add_argument(
        "--prune",
        type=int,
        nargs="+",
        default=[0],
        metavar="N",
        help="for each order, leave out n-grams seen so often or less; the last for all higher",
    )
    p.add_argument(
        "--estimator",
        choices=("auto", "lmplz", "built_in"),
        default="auto",
        help="auto: lmplz if it is on PATH (tools/install_kenlm.sh builds it)",
    )
    p.add_argument("--output", required=True, help="ARPA file to write")
    args = p.parse_args()

    from speechlm.lm.ngram import read_words, train

    words = read_words(args.vocabulary) if args.vocabulary else None
    used = train(args.text, args.output, args.order, words, args.prune, args.estimator)
    logging.info("%s: order %d, by %s", args.output, args.order, used)


if __name__ == "__main__":
    run(main)
