"""Stage 8: train the model that turns phones of text into hidden units."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from speechlm.bin._cli import run
from speechlm.bin._training import training_arguments, training_parser


def options() -> argparse.ArgumentParser:
    """The options; all others are passed on to ESPnet's training."""
    p = training_parser(__doc__)
    p.add_argument("--pairs", type=Path, required=True, help="folder of make_unit_pairs")
    return p


def main() -> None:
    """Parse and train."""
    given = training_arguments(options(), ("pairs",))
    from speechlm.tasks.run_text_to_unit import REPORT, train_text_to_unit

    folder = train_text_to_unit(**given)
    logging.info("text-to-unit model in %s\n%s", folder, (folder / REPORT).read_text())


if __name__ == "__main__":
    run(main)
