"""Stage 13: decode a (split) data directory from its emissions; writes OUTPUT/text and more.

Without --graph the best character of each frame is taken (greedy). With it, the search is through
the graph's words, weighted by its word model; --nbest N keeps the N best sentences of each
utterance (OUTPUT/nbest.tsv). OUTPUT/search.json says how it was done, and what it took.
"""

from __future__ import annotations

import argparse

from speechlm.bin._cli import parser, run
from speechlm.bin._search import add_nbest, add_search, search_of


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    p.add_argument("--emissions", required=True, help="folder of the program emissions")
    p.add_argument("--data_dir", required=True, help="utterances to decode, all or some of these")
    p.add_argument("--output", required=True, help="folder for text, nbest.tsv and search.json")
    add_search(p)
    add_nbest(p, 1)
    return p


def main() -> None:
    """Parse and decode."""
    args = options().parse_args()
    from speechlm.data.kaldi_dir import DataDir
    from speechlm.decode.decode_set import decode_set

    data = DataDir.read(args.data_dir)
    report, model = search_of(args)
    decode_set(args.emissions, data, args.output, report, model)


if __name__ == "__main__":
    run(main)
