"""Stage 5: decode a data directory into 10 ms phone labels and words.

Writes OUTPUT/units.JOB.{ark,scp} and OUTPUT/text.JOB, by the network and the search graph of stage
4. merge_units joins the jobs.
"""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, decode, report."""
    options = parser(__doc__)
    options.add_argument("--data_dir", type=Path, required=True, help="(part of a) data directory")
    options.add_argument("--model", type=Path, required=True, help="folder of train_gmm")
    options.add_argument("--phone_model", type=Path, required=True, help="trained network")
    options.add_argument("--graph", type=Path, required=True, help="search graph")
    options.add_argument("--speakers", type=Path, required=True, help="folder of adapt_speakers")
    options.add_argument("--lexicon", type=Path, required=True, help="lexicon.txt")
    options.add_argument("--output", type=Path, required=True, help="folder of the archives")
    options.add_argument("--acoustic_scale", type=float, help="instead of the tuned one")
    options.add_argument("--beam", type=float, help="instead of the tuned one")
    options.add_argument("--max_active", type=int, help="instead of the tuned one")
    options.add_argument(
        "--per_utterance", action="store_true", help="every utterance is a speaker of its own"
    )
    options.add_argument("--job", type=int, default=1, help="number of this part")
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
