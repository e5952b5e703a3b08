"""Stages 6 and 10: pre-train SpeechLM on speech with unit labels and, if given, unpaired text."""

from __future__ import annotations

import argparse
import logging

from speechlm.bin._cli import parser, run


def options() -> argparse.ArgumentParser:
    """The options; all others are passed on to ESPnet's training."""
    p = parser(
        f"{__doc__} An interrupted training goes on where it was. Other options are "
        "passed on to ESPnet's trainer (e.g. --accum_grad 8 --use_amp true)."
    )
    p.add_argument("--config", help="YAML file with differences from the paper's values")
    p.add_argument("--speech_dir", required=True, help="data directory of unlabelled speech")
    p.add_argument("--dev_dir", required=True, help="data directory for validation")
    p.add_argument("--units", default="units_phone", help="unit archives in each data directory")
    p.add_argument("--text", help="unpaired text, a sentence a line; none: speech only")
    p.add_argument("--dev_text", help="text for validation (with --text)")
    p.add_argument("--text_units", help="hidden units of the text (generate_text_units)")
    p.add_argument("--dev_text_units", help="those of --dev_text (with --text_units)")
    p.add_argument("--lexicon", help="lexicon.txt of the text's words, for phoneme units")
    p.add_argument("--durations", help="duration statistics of units; none: the paper's constants")
    p.add_argument(
        "--init_speech",
        help="folder of a SpeechLM or of a Hugging Face HuBERT whose "
        "front end and speech layers to start from",
    )
    p.add_argument("--output", required=True, help="experiment folder")
    p.add_argument("--config_size", choices=("base", "large", "tiny"), help="size of the model")
    p.add_argument("--seed", type=int, help="of everything random")
    p.add_argument("--ngpu", type=int, default=0, help="GPUs; 0: CPU")
    p.add_argument("--num_threads", type=int, default=1, help="CPU threads")
    p.add_argument("--num_workers", type=int, help="processes that prepare batches")
    p.add_argument("--max_epoch", type=int, help="epochs")
    return p


def main() -> None:
    """Parse and train."""
    args, espnet = options().parse_known_args()
    values = vars(args)
    output, config = values.pop("output"), values.pop("config")
    if args.ngpu > 1:
        espnet = ["--multiprocessing_distributed", "true", *espnet]
    from speechlm.tasks.run_pretrain import pretrain

    logging.info("pre-trained model in %s", pretrain(output, config, values, espnet))


if __name__ == "__main__":
    run(main)
