"""Stage 11: fine-tune SpeechLM with an attention decoder on translations, or train from scratch."""

from __future__ import annotations

import argparse
import logging

from speechlm.bin._cli import run
from speechlm.bin._training import SIZES, training_arguments, training_parser

DATA = ("train_dir", "dev_dir", "target_lang", "vocabulary")


def options() -> argparse.ArgumentParser:
    """The options; all others are passed on to ESPnet's training."""
    p = training_parser(__doc__)
    p.add_argument("--config_size", choices=SIZES, help="size of an encoder trained from scratch")
    p.add_argument("--train_dir", required=True, help="data directory with translations")
    p.add_argument("--dev_dir", required=True, help="data directory for validation")
    p.add_argument("--target_lang", required=True, help="language of the translations")
    p.add_argument("--vocabulary", required=True, help="folder that train_vocabulary has made")
    p.add_argument(
        "--init",
        help="folder of a trained SpeechLM: pre-trained, imported, or "
        "fine-tuned; none: from scratch",
    )
    p.add_argument("--init_decoder", help="folder with a trained translation decoder")
    return p


def main() -> None:
    """Parse and train."""
    given = training_arguments(options(), (*DATA, "init", "init_decoder"))
    from speechlm.tasks.run_st import TranslationData, finetune_st

    data = TranslationData(*(given.pop(name) for name in DATA))
    logging.info("fine-tuned model in %s", finetune_st(data=data, **given))


if __name__ == "__main__":
    run(main)
