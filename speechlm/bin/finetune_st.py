"""Stage 11: fine-tune SpeechLM with an attention decoder on translations, or train from scratch."""

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
    p.add_argument("--output", required=True, help="experiment folder")
    p.add_argument(
        "--config_size",
        choices=("base", "large", "tiny"),
        help="size of the encoder if trained from scratch",
    )
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
    data = [values.pop(n) for n in ("train_dir", "dev_dir", "target_lang", "vocabulary")]
    init, init_decoder = values.pop("init"), values.pop("init_decoder")
    if args.ngpu > 1:
        espnet = ["--multiprocessing_distributed", "true", *espnet]
    from speechlm.tasks.run_st import TranslationData, finetune_st

    folder = finetune_st(output, config, TranslationData(*data), init, init_decoder, values, espnet)
    logging.info("fine-tuned model in %s", folder)


if __name__ == "__main__":
    run(main)
