"""What the mains of trainings share: their common options, and the way to a training's function."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import Any

from speechlm.bin._cli import at_least, parser
from speechlm.conventions import INTERRUPTED

SIZES = ("base", "fast_base", "fast_large", "fast_tiny", "large", "tiny")


def training_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every training has; all others are for ESPnet."""
    p = parser(
        f"{description} An interrupted training goes on where it was. Other options are "
        "passed on to ESPnet's trainer (e.g. --log_interval 50 --use_amp true)."
    )
    p.add_argument("--output", required=True, help="folder of the trained model")
    p.add_argument("--config", help="YAML file with differences from the default values")
    p.add_argument("--seed", type=int, help="of everything random")
    p.add_argument("--ngpu", type=at_least(0), default=0, help="GPUs; 0: CPU")
    p.add_argument("--num_threads", type=at_least(1), default=1, help="CPU threads")
    p.add_argument("--num_workers", type=at_least(0), help="processes that prepare batches")
    p.add_argument("--max_epoch", type=int, help="epochs")
    return p


def training_arguments(p: argparse.ArgumentParser, own: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments of a training's function, from the command line.

    Args:
        p: made by `training_parser`.
        own: names of the options that are arguments of the function, beside output and config.

    Returns:
        These by name; `options`: the parser's other options, which are ESPnet's; `espnet`: what
        the parser does not know.
    """
    # Until the training can save a state, there is none to lose.
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(INTERRUPTED))
    args, espnet = p.parse_known_args()
    options = vars(args)
    given = {name: options.pop(name) for name in ("output", "config", *own)}
    return {**given, "options": options, "espnet": espnet}
