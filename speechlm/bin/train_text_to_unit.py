"""Stage 8: train the model that turns phones of text into hidden units."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from speechlm.bin._cli import parser, run


def options() -> argparse.ArgumentParser:
    """The options; all others are passed on to ESPnet's training."""
    p = parser(
        f"{__doc__} An interrupted training goes on where it was. Other options are "
        "passed on to ESPnet's trainer (e.g. --accum_grad 8 --use_amp true)."
    )
    p.add_argument("--config", help="YAML file with differences from the paper's values")
    p.add_argument("--pairs", type=Path, required=True, help="folder of make_unit_pairs")
    p.add_argument("--output", required=True, help="experiment folder")
    p.add_argument("--seed", type=int, help="of everything random")
    p.add_argument("--ngpu", type=int, default=0, help="GPUs; 0: CPU")
    p.add_argument("--num_threads", type=int, default=1, help="CPU threads")
    p.add_argument("--max_epoch", type=int, help="epochs")
    return p


def main() -> None:
    """Parse and train."""
    args, espnet = options().parse_known_args()
    values = vars(args)
    pairs, output, config = (values.pop(name) for name in ("pairs", "output", "config"))
    if args.ngpu > 1:
        espnet = ["--multiprocessing_distributed", "true", *espnet]
    from speechlm.tasks.run_text_to_unit import REPORT, train_text_to_unit

    folder = train_text_to_unit(pairs, output, config, values, espnet)
    logging.info("text-to-unit model in %s\n%s", folder, (folder / REPORT).read_text())


if __name__ == "__main__":
    run(main)
