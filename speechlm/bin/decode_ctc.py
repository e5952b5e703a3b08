"""Stage 13: decode a (split) data directory; writes OUTPUT/text and more.

What is decoded are emissions (of the program emissions), or what a model gives, which is kept in
OUTPUT/emissions. Without --graph the best character of each frame is taken (greedy). With it, the
search is through the graph's words, weighted by its word model; --nbest N keeps the N best
sentences of each utterance (OUTPUT/nbest.tsv). OUTPUT/search.json says how it was done, and what it
took.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from speechlm.bin._cli import at_least, parser, run
from speechlm.bin._options import BATCH_SAMPLES, add_ctc_weights, add_device, device_of
from speechlm.bin._search import add_nbest, add_search, search_of

if TYPE_CHECKING:
    from speechlm.data.kaldi_dir import DataDir


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--emissions", type=Path, help="folder of the program emissions")
    source.add_argument("--model", help="folder of a fine-tuning, ours or imported")
    p.add_argument("--data_dir", required=True, help="utterances to decode, all or some of these")
    p.add_argument("--output", required=True, help="folder for text, nbest.tsv and search.json")
    add_search(p)
    add_nbest(p, 1)
    p.add_argument("--batch_samples", type=at_least(1), default=3_200_000, help=BATCH_SAMPLES)
    add_ctc_weights(p)
    add_device(p)
    return p


def main() -> None:
    """Parse and decode."""
    args = options().parse_args()
    from speechlm.data.kaldi_dir import DataDir
    from speechlm.decode.decode_set import decode_set

    data = DataDir.read(args.data_dir)
    report, model = search_of(args)
    emissions = args.emissions or _emissions_of_model(args, data)
    decode_set(emissions, data, args.output, report, model)


def _emissions_of_model(args: argparse.Namespace, data: DataDir) -> Path:
    from speechlm.checkpoints.load_ctc import load_model
    from speechlm.data.archives import merge_archives
    from speechlm.decode.emissions import NAME
    from speechlm.decode.write_emissions import write_emissions

    folder = Path(args.output) / NAME
    write_emissions(
        load_model(args.model, args.weights, device_of(args)),
        data,
        folder,
        source=args.model,
        batch_samples=args.batch_samples,
    )
    merge_archives(folder, 1, NAME)
    return folder


if __name__ == "__main__":
    run(main)
