"""Stage 13: tune the weights of decoding with a word model by word errors on a held-out set.

Coordinate descent over LM weight, word score and blank score, from the paper's values (2, -1, 0) or
those of --tuned; a weight that is given stays as it is. The beam is that of the options, and goes
with the weights.
Writes OUTPUT/weights.json (decode_ctc --tuned) and grid.tsv with all points that were tried, which
plot_tuning draws; prints the errors around the weights that it has chosen. Without transcripts, or
with fewer than 100 words of them, the weights stay where they begin.
"""

from __future__ import annotations

import argparse

from speechlm.bin._cli import at_least, parser, run
from speechlm.bin._search import WEIGHTS, add_search, search_of


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    p.add_argument("--emissions", required=True, help="folder of the program emissions")
    p.add_argument(
        "--data_dir", required=True, help="held-out utterances with text, never the test"
    )
    p.add_argument("--output", required=True, help="folder for weights.json and grid.tsv")
    p.add_argument(
        "--max_utterances",
        type=at_least(1),
        default=1000,
        help="of a larger set so many are taken, evenly chosen",
    )
    p.add_argument("--nj", type=at_least(1), default=1, help="processes; results are the same")
    add_search(p)
    return p


def main() -> None:
    """Parse, tune, write."""
    args = options().parse_args()
    if not args.graph:
        raise ValueError("--graph DIR expected: greedy decoding has no weights")
    from pathlib import Path

    import numpy as np

    from speechlm.data.atomic import output_dir
    from speechlm.data.kaldi_dir import DataDir
    from speechlm.data.vocabulary import CharacterVocabulary
    from speechlm.decode import ctc_tuning, dev_errors
    from speechlm.lm.search import read_word_labels

    given = [name for name in WEIGHTS if getattr(args, name) is not None]
    report, model = search_of(args)
    assert model
    data = DataDir.read(args.data_dir)
    dev = dev_errors.read_dev(data, args.data_dir, args.emissions, args.max_utterances)
    unknown = None
    if dev is None:
        tuning = ctc_tuning.Tuning(
            model.weights, {}, "given" if len(given) == len(WEIGHTS) else "paper"
        )
    else:
        known = set(read_word_labels(Path(args.graph) / "words.txt").values())
        unknown = dev_errors.check_vocabulary(dev, known, args.graph)
        # what is compiled or read at first use is so once, not in each process
        model.search.decode(np.zeros((1, CharacterVocabulary.n_ids), np.float32), model.weights)
        with dev_errors.DevErrors(model.search, dev, args.nj) as errors:
            tuning = ctc_tuning.tune(errors, model.weights, given)
        ctc_tuning.warn_of_weak_model(tuning.points[tuning.weights])
        print(ctc_tuning.neighbourhood_table(tuning))
    with output_dir(args.output) as folder:
        ctc_tuning.write_tuning(
            *(tuning, folder, report.beam),
            search=report.search,
            graph=report.graph,
            dev=args.data_dir,
            unknown_percent=unknown,
        )


if __name__ == "__main__":
    run(main)
