"""Perplexity of texts under an n-gram model, as one line of JSON."""

import json
import sys

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_texts


def main() -> None:
    """Parse, score, print a line of JSON."""
    p = parser(__doc__)
    p.add_argument("--lm", required=True, help="ARPA file")
    add_texts(p, "one sentence a line")
    args = p.parse_args()

    from speechlm.lm.ngram import perplexity

    json.dump(perplexity(args.lm, args.text).as_dict(), sys.stdout)
    print()


if __name__ == "__main__":
    run(main)
