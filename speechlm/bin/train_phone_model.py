"""Stage 4: train the phone recogniser's frame classifier (an ESPnet task).

Options that are not listed here are ESPnet's, such as --max_epoch 5 or --ngpu 1.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from speechlm.bin._cli import run
from speechlm.bin._training import training_arguments, training_parser


def options() -> argparse.ArgumentParser:
    """The options; all others are passed on to ESPnet's training."""
    p = training_parser(__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder of make_phone_classes")
    return p


def main() -> None:
    """Parse and train."""
    given = training_arguments(options(), ("data",))
    from speechlm.tasks.run_phone_model import train_phone_model

    train_phone_model(**given)
    logging.info("frame classifier in %s", given["output"])


if __name__ == "__main__":
    run(main)
