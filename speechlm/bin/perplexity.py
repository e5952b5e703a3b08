"""Perplexity of texts under an n-gram model or a word Transformer, as one line of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_texts

if TYPE_CHECKING:
    from speechlm.lm.ngram import Perplexity


def main() -> None:
    """Parse, score, print a line of JSON."""
    p = parser(__doc__)
    p.add_argument(
        "--lm", required=True, help="ARPA file, its .gz, KenLM's binary; or folder of train_lm"
    )
    add_texts(p, "one sentence a line")
    args = p.parse_args()

    json.dump(_perplexity(args.lm, args.text).as_dict(), sys.stdout)
    print()


def _perplexity(lm: str, texts: Sequence[str]) -> Perplexity:
    if Path(lm).is_dir():
        from speechlm.tasks.lm_scores import NeuralLM
        from speechlm.tasks.lm_scores import perplexity as of_neural

        return of_neural(NeuralLM.load(lm), texts)
    from speechlm.lm.ngram import perplexity

    return perplexity(lm, texts)


if __name__ == "__main__":
    run(main)
