"""Stage 11: fine-tune SpeechLM with CTC on characters, or train the same model from scratch."""

from __future__ import annotations

import argparse
import logging

from speechlm.bin._cli import run
from speechlm.bin._training import SIZES, training_arguments, training_parser


def options() -> argparse.ArgumentParser:
    """The options; all others are passed on to ESPnet's training."""
    p = training_parser(__doc__)
    p.add_argument("--config_size", choices=SIZES, help="size of a model trained from scratch")
    p.add_argument("--train_dir", required=True, help="data directory with transcripts")
    p.add_argument("--dev_dir", required=True, help="data directory for validation")
    p.add_argument("--init", help="folder of a finished pre-training; none: from scratch")
    return p


def main() -> None:
    """Parse and train."""
    given = training_arguments(options(), ("train_dir", "dev_dir", "init"))
    from speechlm.tasks.run_asr import finetune_asr

    logging.info("fine-tuned model in %s", finetune_asr(**given))


if __name__ == "__main__":
    run(main)
