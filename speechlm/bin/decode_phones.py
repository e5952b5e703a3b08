"""Stage 5: decode a data directory into 10 ms phone labels and words.

Writes OUTPUT/units.JOB.{ark,scp} and OUTPUT/text.JOB, by the network and the search graph of stage
4. merge_units joins the jobs.
"""

from __future__ import annotations

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_job, add_per_utterance, add_recognizer


def main() -> None:
    """Parse, decode, report."""
    options = parser(__doc__)
    add_recognizer(
        options, "data_dir", "model", "phone_model", "graph", "speakers", "lexicon", "output"
    )
    options.add_argument("--acoustic_scale", type=float, help="instead of the tuned one")
    options.add_argument("--beam", type=float, help="instead of the tuned one")
    options.add_argument("--max_active", type=int, help="instead of the tuned one")
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
    for name in ("acoustic_scale", "beam", "max_active"):
        if getattr(args, name) is not None:
            setattr(config, name, getattr(args, name))
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
