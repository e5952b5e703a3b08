"""Stage 5: decode a data directory into 10 ms phone labels and words.

Writes OUTPUT/units.JOB.{ark,scp} and OUTPUT/text.JOB, by the network and the search graph of stage
4. merge_units joins the jobs. What is neither a phone of a known word nor silence is SPN_S.
"""

from __future__ import annotations

from dataclasses import fields, replace

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_job, add_per_utterance, add_recognizer

TUNED = "instead of the tuned one"


def main() -> None:
    """Parse, decode, report."""
    options = parser(__doc__)
    add_recognizer(
        options, "data_dir", "model", "phone_model", "graph", "speakers", "lexicon", "output"
    )
    options.add_argument("--acoustic_scale", type=float, help=TUNED)
    options.add_argument("--beam", type=float, help=TUNED)
    options.add_argument("--max_active", type=int, help=TUNED)
    options.add_argument("--noise_rate", type=float, help=f"{TUNED}; 0: no noise in the labels")
    options.add_argument("--noise_margin", type=float, help=TUNED)
    add_per_utterance(options)
    add_job(options)
    args = options.parse_args()

    import torch

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.recognizer.decoding import SearchConfig, WordDecoder, decode_data
    from speechlm.recognizer.model import AlignmentModel
    from speechlm.recognizer.network import Network
    from speechlm.recognizer.speakers import load_speakers
    from speechlm.recognizer.utterance_graph import read_pronunciations

    torch.set_num_threads(1)
    config = SearchConfig.load(args.graph / "search.json")
    given = {f.name: getattr(args, f.name, None) for f in fields(config)}
    config = replace(config, **{name: x for name, x in given.items() if x is not None})
    decode_data(
        DataDir.read(args.data_dir),
        AlignmentModel.load(args.model),
        Network.load(args.phone_model),
        WordDecoder(args.graph, config),
        load_speakers(args.speakers),
        read_pronunciations(args.lexicon),
        args.output,
        job=args.job,
        per_utterance=args.per_utterance,
    )


if __name__ == "__main__":
    run(main)
