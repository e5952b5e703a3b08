"""Greedy CTC decoding of audio files; prints the text of each on a line of its own."""

from __future__ import annotations

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_ctc_weights, add_device, device_of


def main() -> None:
    """Parse, decode, print."""
    p = parser(__doc__)
    p.add_argument("--model", required=True, help="folder of a fine-tuning, ours or imported")
    add_ctc_weights(p)
    p.add_argument("audio", nargs="+", metavar="FILE", help="audio of any rate and format")
    add_device(p)
    args = p.parse_args()

    from speechlm.decode.ctc_greedy import decode_file, load_model

    model = load_model(args.model, args.weights, device_of(args))
    for path in args.audio:
        print(decode_file(model, path), flush=True)


if __name__ == "__main__":
    run(main)
