"""Stages 6 and 10: pre-train SpeechLM on speech with unit labels and, if given, unpaired text."""

from __future__ import annotations

import argparse
import logging

from speechlm.bin._cli import run
from speechlm.bin._training import SIZES, training_arguments, training_parser


def options() -> argparse.ArgumentParser:
    """The options; all others are passed on to ESPnet's training."""
    p = training_parser(__doc__)
    p.add_argument("--config_size", choices=SIZES, help="size of the model")
    p.add_argument("--speech_dir", required=True, help="data directory of unlabelled speech")
    p.add_argument("--dev_dir", required=True, help="data directory for validation")
    p.add_argument("--units", default="units_phone", help="unit archives in each data directory")
    p.add_argument("--text", help="unpaired text, a sentence a line; none: speech only")
    p.add_argument("--dev_text", help="text for validation (with --text)")
    p.add_argument(
        "--text_units",
        help="hidden units of the text (generate_text_units); none: phoneme units are made on "
        "the fly",
    )
    p.add_argument("--dev_text_units", help="those of --dev_text (with --text_units)")
    p.add_argument("--lexicon", help="lexicon.txt of the text's words, for phoneme units")
    p.add_argument("--durations", help="duration statistics of units; none: the paper's constants")
    p.add_argument(
        "--init_speech",
        help="folder of a SpeechLM or of a Hugging Face HuBERT whose "
        "front end and speech layers to start from",
    )
    return p


def main() -> None:
    """Parse and train."""
    given = training_arguments(options(), ())
    from speechlm.tasks.run_pretrain import pretrain

    logging.info("pre-trained model in %s", pretrain(**given))


if __name__ == "__main__":
    run(main)
