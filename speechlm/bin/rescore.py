"""Stage 13: put n-best lists in another order by a second language model.

OUTPUT has a decoding's files: text, nbest.tsv with new totals, search.json. Weights are those of
tune_rescoring, for the same kind of model and n-best lists of the same search.
"""

from __future__ import annotations

import argparse

from speechlm.bin._cli import parser, run
from speechlm.bin._rescoring import add_rescoring, rescorer_of


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    add_rescoring(p, nbest="folder of decode_ctc with --nbest")
    p.add_argument("--tuned", required=True, help="weights.json of tune_rescoring")
    p.add_argument("--data_dir", help="part of the decoded set, for a job; none: all of it")
    p.add_argument("--output", required=True, help="folder for text, nbest.tsv and search.json")
    return p


def main() -> None:
    """Parse, score, sort, write."""
    args = options().parse_args()
    from speechlm.data.kaldi_dir import DataDir
    from speechlm.decode.hypotheses import SearchReport
    from speechlm.decode.rescore import check_tuned_for, read_rescoring, rescore_set

    weights, tuned = read_rescoring(args.tuned)
    samples = DataDir.read(args.data_dir).samples() if args.data_dir else None
    model = rescorer_of(args)
    check_tuned_for(tuned, model, SearchReport.read(args.nbest), args.tuned)
    rescore_set(args.nbest, model, weights, args.output, samples)


if __name__ == "__main__":
    run(main)
