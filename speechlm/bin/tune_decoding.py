"""Stage 4: choose the acoustic scale of decoding on utterances that the network has not seen.

They are held out from its training by make_phone_classes. Writes the best scale and the beam to
GRAPH/search.json.
"""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_recognizer


def main() -> None:
    """Parse, decode with every scale, save the best in GRAPH/search.json."""
    options = parser(__doc__)
    options.add_argument("--net_data", type=Path, required=True, help="of make_phone_classes")
    add_recognizer(options, "phone_model", "graph", data_dir="data directory with text")
    options.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=[0.3, 0.4, 0.5, 0.7, 1.0],
        help="factors of the scores of one 30 ms step",
    )
    options.add_argument("--beam", type=float, default=9.0, help="beam to decode with, and to keep")
    options.add_argument("--max_active", type=int, default=1000, help="most states a step")
    options.add_argument("--max_utterances", type=int, default=60, help="use at most so many")
    args = options.parse_args()

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.recognizer.network import Network
    from speechlm.recognizer.tuning import tune_scale

    tune_scale(
        DataDir.read(args.data_dir),
        args.net_data,
        Network.load(args.phone_model),
        args.graph,
        args.scales,
        beam=args.beam,
        max_active=args.max_active,
        max_utterances=args.max_utterances,
    )


if __name__ == "__main__":
    run(main)
