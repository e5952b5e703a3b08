"""Stage 4: train the phone recogniser's frame classifier (an ESPnet task).

Options that are not listed here are ESPnet's, such as --max_epoch 5 or --ngpu 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from speechlm.bin._cli import run


def main() -> None:
    """Parse, train, save."""
    options = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("--data", type=Path, required=True, help="folder of make_phone_classes")
    options.add_argument("--output", type=Path, required=True, help="folder of the network")
    options.add_argument("--config", help="ESPnet YAML file")
    args, rest = options.parse_known_args()

    from speechlm.tasks.run_phone_model import train_phone_model

    train_phone_model(args.data, args.output, args.config, rest)


if __name__ == "__main__":
    run(main)
