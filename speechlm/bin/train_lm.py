"""Stages 10 and 12: train a Transformer language model of words (an ESPnet task).

Options that are not listed here are ESPnet's, such as --max_epoch 5 or --lm_conf layer=4.
"""

from __future__ import annotations

import argparse
import logging

from speechlm.bin._cli import run
from speechlm.bin._options import add_texts
from speechlm.bin._training import training_arguments, training_parser


def options() -> argparse.ArgumentParser:
    """The options; all others are passed on to ESPnet's training."""
    p = training_parser(__doc__)
    add_texts(p, "texts to train on, one sentence a line")
    p.add_argument("--dev_text", required=True, help="text for validation, of the same kinds")
    p.add_argument(
        "--lexicon", required=True, help="lexicon of decoding, whose words the model knows"
    )
    return p


def main() -> None:
    """Parse and train."""
    given = training_arguments(options(), ("text", "dev_text", "lexicon"))
    from speechlm.tasks.run_lm import REPORT, train_lm

    folder = train_lm(**given)
    logging.info("word language model in %s\n%s", folder, (folder / REPORT).read_text())


if __name__ == "__main__":
    run(main)
