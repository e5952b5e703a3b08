"""Options that mains share: where to compute, and features for hidden units."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechlm.tokenizers.feature_stream import Features

KINDS = ("mfcc", "speechlm", "huggingface", "model")


def add_device(options: argparse.ArgumentParser) -> None:
    """--ngpu and --num_threads."""
    options.add_argument("--ngpu", type=int, default=0, choices=(0, 1), help="GPUs; 0: CPU")
    options.add_argument("--num_threads", type=int, default=1, help="CPU threads")


def add_features(options: argparse.ArgumentParser) -> None:
    """--features, --model, --layer."""
    options.add_argument(
        "--features",
        choices=KINDS,
        default="mfcc",
        help="39 MFCC, a layer of a SpeechLM, or of a Hugging Face HuBERT, WavLM or wav2vec 2.0; "
        "model: of whichever of these --model is",
    )
    options.add_argument("--model", help="folder of the model, or its name on the hub")
    options.add_argument("--layer", type=int, help="Transformer layer, from 1")


def add_sampling(options: argparse.ArgumentParser) -> None:
    """--portion, --max_frames, --seed."""
    options.add_argument("--portion", type=float, default=1.0, help="share of the utterances")
    options.add_argument(
        "--max_frames", type=int, default=500_000, help="frames of them kept in memory"
    )
    options.add_argument("--seed", type=int, default=0, help="of everything random")


def device_of(args: argparse.Namespace) -> str:
    """The torch device, after setting the threads."""
    import torch

    torch.set_num_threads(args.num_threads)
    if args.ngpu and not torch.cuda.is_available():
        raise ValueError("--ngpu 1: torch finds no GPU here; use --ngpu 0")
    return "cuda" if args.ngpu else "cpu"


def source_of(args: argparse.Namespace, feats: str | None = None) -> Features:
    """Features that the options ask for, from the archives in `feats` if given."""
    from speechlm.tokenizers.feature_stream import FeatureArchive
    from speechlm.tokenizers.speech_features import open_features

    if feats is not None:
        return FeatureArchive(feats)
    return open_features(args.features, args.model, args.layer, device_of(args))
