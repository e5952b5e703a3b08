"""Stage 4: choose the values of decoding on utterances that the network has not seen.

They are held out from its training by make_phone_classes. The acoustic scale is the one with fewest
word errors. Noise, if the graph has it, is expected as often as --lexicon lacks a word of the
transcripts, and gets the margin with fewest phone errors. Writes GRAPH/search.json.
"""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import at_least, parser, run
from speechlm.bin._options import add_recognizer


def main() -> None:
    """Parse, decode with all values, save the best in GRAPH/search.json."""
    options = parser(__doc__)
    options.add_argument("--net_data", type=Path, required=True, help="of make_phone_classes")
    add_recognizer(
        options,
        "phone_model",
        "graph",
        data_dir="data directory with text",
        lexicon="lexicon.txt with which the network's alignments were made",
    )
    options.add_argument("--beam", type=float, default=9.0, help="beam to decode with, and to keep")
    options.add_argument("--max_active", type=int, default=1000, help="most states a step")
    options.add_argument(
        "--max_utterances", type=at_least(1), default=60, help="use at most so many"
    )
    args = options.parse_args()

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.recognizer.decoding import SearchConfig
    from speechlm.recognizer.network import Network
    from speechlm.recognizer.tuning import HeldOut, tune
    from speechlm.recognizer.utterance_graph import read_pronunciations

    data = DataDir.read(args.data_dir)
    network = Network.load(args.phone_model)
    tune(
        data,
        HeldOut.read(data, args.net_data, network, args.max_utterances),
        read_pronunciations(args.lexicon),
        args.graph,
        SearchConfig(beam=args.beam, max_active=args.max_active),
    ).save(args.graph / "search.json")


if __name__ == "__main__":
    run(main)
