"""Stages 6 and 13: prepare a pre-trained SpeechLM to decode in place of the recogniser's network.

Counts the phones of the labels that it was pre-trained with: its predictions are divided by these
priors. Chooses the acoustic scale, and values of noise, on transcribed speech of other speakers,
such as dev. Writes OUTPUT/phone_counts.npz, info.json and search.json for decode_phones.
"""

from __future__ import annotations

import logging
from argparse import ArgumentParser
from pathlib import Path

from speechlm.bin._cli import at_least, parser, run
from speechlm.bin._options import add_device, add_recognizer, device_of


def _options() -> ArgumentParser:
    options = parser(__doc__)
    options.add_argument("--speechlm", type=Path, required=True, help="folder of the SpeechLM")
    options.add_argument(
        "--units", type=Path, required=True, help="folder of the units it was pre-trained with"
    )
    add_recognizer(
        options,
        "model",
        "graph",
        "speakers",
        phone_model="folder of train_phone_model, whose classes the graph has",
        data_dir="data directory with text",
        lexicon="lexicon.txt; the words that it lacks are noise",
        output="folder to write",
    )
    options.add_argument(
        "--depth",
        choices=("middle", "top", "both"),
        default="both",
        help="predictions of the Speech Transformer, of the Shared Transformer, or their mean",
    )
    options.add_argument(
        "--network_share",
        type=float,
        default=0.0,
        help="so many times the scores of the recogniser's network are added",
    )
    options.add_argument(
        "--beam", type=float, default=11.0, help="beam to decode with, and to keep"
    )
    options.add_argument("--max_active", type=int, default=2000, help="most states a step")
    options.add_argument(
        "--max_utterances", type=at_least(1), default=100, help="decode at most so many"
    )
    options.add_argument(
        "--max_counted", type=at_least(1), default=10000, help="count phones of at most so many"
    )
    add_device(options)
    return options


def main() -> None:
    """Parse, count, decode with all scales, save the best."""
    args = _options().parse_args()
    if not 0 <= args.network_share < float("inf"):
        raise ValueError(f"--network_share {args.network_share}: a number of 0 or more expected")

    from speechlm.data.atomic import output_dir
    from speechlm.data.kaldi_dir import DataDir, show_ids
    from speechlm.decode.phone_scores import PhoneCounts, PhonePredictor, PhoneScores, spread
    from speechlm.recognizer.decoding import SearchConfig
    from speechlm.recognizer.labelling import Outcome, utterance_frames
    from speechlm.recognizer.model import AlignmentModel
    from speechlm.recognizer.network import Network
    from speechlm.recognizer.speakers import load_speakers
    from speechlm.recognizer.tuning import PREDICTION_SCALES, HeldOut, tune
    from speechlm.recognizer.utterance_graph import read_pronunciations

    predictor = PhonePredictor.load(args.speechlm, args.depth, device_of(args))
    counts = PhoneCounts.of_units(args.units, args.max_counted)
    network, model = Network.load(args.phone_model), AlignmentModel.load(args.model)
    classes = network.classes.table, model.hmm.classes
    scores = PhoneScores(predictor, counts, *classes, args.network_share)
    data = DataDir.read(args.data_dir)
    if data.text is None:
        raise ValueError(f"{args.data_dir}: transcripts expected, but there is no text")
    chosen, unusable = set(spread(data.ids, args.max_utterances)), Outcome()
    stream = utterance_frames(data, model, load_speakers(args.speakers), False, 1.0, unusable)
    held_out, score = HeldOut([], []), scores.of(data, network)
    for utterance, frames in stream:
        if utterance not in chosen:
            continue
        try:
            held_out.add(score(utterance, frames)[0], data.text[utterance].split())
        except ValueError as error:
            unusable.failed[utterance] = str(error)
    if unusable.failed:
        shown = [f"{utterance} ({why})" for utterance, why in sorted(unusable.failed.items())]
        logging.warning("%d utterances are left out: %s", len(shown), show_ids(shown))
    if not held_out.words:
        raise ValueError(f"{args.data_dir}: no utterance that could be decoded to tune with")
    with output_dir(args.output) as folder:
        scores.save(folder, counts)
        tune(
            data,
            held_out,
            read_pronunciations(args.lexicon),
            args.graph,
            SearchConfig(beam=args.beam, max_active=args.max_active),
            PREDICTION_SCALES,
        ).save(folder / "search.json")


if __name__ == "__main__":
    run(main)
