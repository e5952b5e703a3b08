"""Stage 13: tune the weights of a second language model on a held-out set's n-best lists.

Coordinate descent by word errors over the weights of the search's n-gram and of the new model, and
the word score. A Transformer's score is added; a larger n-gram takes the place of the search's,
which keeps a weight of its own. Writes OUTPUT/weights.json (rescore --tuned) and grid.tsv with all
points that were tried. With fewer than 100 words of references the weights are the paper's (a
Transformer) or the search's (an n-gram).
"""

from __future__ import annotations

import argparse

from speechlm.bin._cli import parser, run
from speechlm.bin._rescoring import add_rescoring, rescorer_of


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    add_rescoring(p, nbest="folder of decode_ctc with --nbest: the held-out set, never the test")
    p.add_argument("--ref", required=True, help="Kaldi text file with its references")
    p.add_argument("--output", required=True, help="folder for weights.json and grid.tsv")
    return p


def main() -> None:
    """Parse, score, tune, write."""
    args = options().parse_args()
    from speechlm.data.atomic import output_dir
    from speechlm.data.kaldi_dir import read_table
    from speechlm.decode import rescore, rescore_tuning
    from speechlm.decode.hypotheses import SearchReport
    from speechlm.score.error_rate import check_same_utterances

    report, lists = SearchReport.read(args.nbest), rescore.read_lists(args.nbest)
    references = read_table(args.ref, empty=True)
    check_same_utterances(references, dict.fromkeys(lists.ids, ""))
    search = rescore.search_weights(report, args.nbest)
    model = rescorer_of(args)
    unknown = rescore.add_scores(lists, model)
    tuning = rescore_tuning.tune_rescoring(lists, references, model, search)
    found = {
        "blank_score": report.weights.get("blank_score"),
        "dev": args.nbest,
        "unknown_words": unknown,
        "unlisted": lists.unlisted,
    }
    with output_dir(args.output) as folder:
        rescore_tuning.write_rescoring(tuning, folder, model, **found)


if __name__ == "__main__":
    run(main)
