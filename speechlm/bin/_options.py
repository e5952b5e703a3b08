"""Options that mains share, and what they stand for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from speechlm.bin._cli import at_least

if TYPE_CHECKING:
    from speechlm.tokenizers.feature_stream import Features
    from speechlm.tokenizers.speech_features import FeatureSource

RECOGNIZER = {
    "data_dir": "(part of a) data directory",
    "model": "folder of train_gmm",
    "speakers": "folder of adapt_speakers",
    "lexicon": "lexicon.txt",
    "phone_model": "folder of train_phone_model",
    "graph": "folder of make_graph",
    "output": "folder of the archives",
}
"""Files and folders of the phone recogniser's programs."""

BATCH_SAMPLES = "padded samples of a batch; results do not depend on it"
"""Help of --batch_samples."""
KINDS = ("mfcc", "speechlm", "huggingface", "model")


def add_recognizer(options: argparse.ArgumentParser, *names: str, **changes: str) -> None:
    """Options of `RECOGNIZER`: those in `names`, and those in `changes` with another help."""
    for name in (*names, *changes):
        text = changes.get(name, RECOGNIZER[name])
        options.add_argument(f"--{name}", type=Path, required=True, help=text)


def add_job(options: argparse.ArgumentParser) -> None:
    """--job."""
    options.add_argument("--job", type=at_least(1), default=1, help="number of this part")


def add_per_utterance(options: argparse.ArgumentParser) -> None:
    """--per_utterance."""
    options.add_argument(
        "--per_utterance", action="store_true", help="every utterance is a speaker of its own"
    )


def add_texts(options: argparse.ArgumentParser, what: str) -> None:
    """--text FILE ..., what each holds in words."""
    options.add_argument(
        "--text",
        nargs="+",
        required=True,
        help=f"{what}; a file named 'text' is a Kaldi transcript (with ids)",
    )


def add_decoding(
    options: argparse.ArgumentParser, model: str, output: str, batch_samples: int
) -> None:
    """--model, --data_dir, --output, --batch_samples, and those of `add_device`.

    Args:
        options: where to add them.
        model: help of --model.
        output: help of --output.
        batch_samples: the default.
    """
    options.add_argument("--model", required=True, help=model)
    options.add_argument("--data_dir", required=True, help="data directory with utt2num_samples")
    options.add_argument("--output", required=True, help=output)
    options.add_argument(
        "--batch_samples", type=at_least(1), default=batch_samples, help=BATCH_SAMPLES
    )
    add_device(options)


def add_beam(options: argparse.ArgumentParser) -> None:
    """--beam, --length_penalty and --max_tokens of a translation."""
    options.add_argument("--beam", type=int, default=5, help="hypotheses of an utterance")
    options.add_argument(
        "--length_penalty",
        type=float,
        default=1.0,
        help="log-probabilities are divided by the length to this power",
    )
    options.add_argument(
        "--max_tokens", type=at_least(1), default=512, help="of a translation: it ends there"
    )


def add_ctc_weights(options: argparse.ArgumentParser) -> None:
    """--weights of a CTC fine-tuning."""
    options.add_argument(
        "--weights",
        help="file in the model's folder; none: the best in validation, by its training's measure",
    )


def add_named_units(options: argparse.ArgumentParser) -> None:
    """--units NAME:DIR ..."""
    options.add_argument(
        "--units",
        nargs="+",
        required=True,
        metavar="NAME:DIR",
        help="a name for the table, and a folder with units.scp",
    )


def add_device(options: argparse.ArgumentParser) -> None:
    """--ngpu and --num_threads."""
    options.add_argument("--ngpu", type=int, default=0, choices=(0, 1), help="GPUs; 0: CPU")
    options.add_argument("--num_threads", type=at_least(1), default=1, help="CPU threads")


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

    from speechlm.kernels.devices import check_gpus

    torch.set_num_threads(args.num_threads)
    check_gpus(args.ngpu)
    return "cuda" if args.ngpu else "cpu"


def source_of(args: argparse.Namespace, feats: str | None = None) -> Features:
    """Features that the options ask for, from the archives in `feats` if given."""
    from speechlm.tokenizers.feature_stream import FeatureArchive

    return computed_source(args) if feats is None else FeatureArchive(feats)


def computed_source(args: argparse.Namespace) -> FeatureSource:
    """Features that the options ask for, computed from audio."""
    from speechlm.tokenizers.speech_features import open_features

    return open_features(args.features, args.model, args.layer, device_of(args))
