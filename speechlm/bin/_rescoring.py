"""Options of the programs that rescore n-best lists, and the model that they name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from speechlm.bin._options import add_device, device_of

if TYPE_CHECKING:
    from speechlm.decode.rescore import Rescorer


def add_rescoring(options: argparse.ArgumentParser, nbest: str) -> None:
    """--nbest, --lm, and those of `add_device`.

    Args:
        options: where to add them.
        nbest: help of --nbest.
    """
    options.add_argument("--nbest", required=True, help=nbest)
    options.add_argument(
        "--lm",
        required=True,
        help="folder of train_lm (a Transformer of words), or an n-gram: ARPA, .gz, KenLM binary",
    )
    add_device(options)


def rescorer_of(args: argparse.Namespace) -> Rescorer:
    """The model that the options name.

    Raises:
        ValueError: there is none, or a damaged one.
    """
    from speechlm.decode.rescore import Rescorer

    device = device_of(args)
    if Path(args.lm).is_dir():
        from speechlm.tasks.lm_scores import NeuralLM

        return Rescorer(NeuralLM.load(args.lm, device), "neural", "transformer", args.lm)
    from speechlm.lm.ngram_scores import NgramLM

    ngram = NgramLM(args.lm)
    return Rescorer(ngram, "ngram", f"ngram{ngram.order}", args.lm)
