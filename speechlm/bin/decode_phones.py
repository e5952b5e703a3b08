"""Stages 5, 6 and 13: decode a data directory into 10 ms phone labels, and words.

Writes OUTPUT/units.JOB.{ark,scp}, by the network and the search graph of stage 4, or with
--speechlm by a pre-trained SpeechLM in the network's place. merge_units joins the jobs. What is
neither a phone of a known word nor silence is SPN_S. With --text FOLDER the words are written as
decode_ctc writes them: stage 13 compares them with those of SpeechLM.
"""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_device, add_job, add_per_utterance, add_recognizer, device_of

if TYPE_CHECKING:
    from speechlm.data.kaldi_dir import DataDir
    from speechlm.recognizer.decoding import DecodedWords, SearchConfig

TUNED = "instead of the tuned one"


def _options() -> ArgumentParser:
    options = parser(__doc__)
    add_recognizer(
        options, "data_dir", "model", "phone_model", "graph", "speakers", "lexicon", "output"
    )
    options.add_argument(
        "--speechlm",
        type=Path,
        help="folder of a SpeechLM with phone units: its scores of the network's classes are taken",
    )
    options.add_argument("--phone_scores", type=Path, help="folder of tune_phone_scores for it")
    options.add_argument(
        "--tuned",
        type=Path,
        help="search.json; none: that of --phone_scores, or else that in the graph's folder",
    )
    options.add_argument("--acoustic_scale", type=float, help=TUNED)
    options.add_argument("--beam", type=float, help=TUNED)
    options.add_argument("--max_active", type=int, help=TUNED)
    options.add_argument("--noise_rate", type=float, help=f"{TUNED}; 0: no noise in the labels")
    options.add_argument("--noise_margin", type=float, help=TUNED)
    options.add_argument("--text", help="folder for text and search.json")
    add_per_utterance(options)
    add_job(options)
    add_device(options)
    return options


def main() -> None:
    """Parse, decode, report."""
    args = _options().parse_args()
    if (args.speechlm is None) != (args.phone_scores is None):
        raise ValueError("--speechlm and --phone_scores are needed together")

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.recognizer.decoding import SearchConfig, WordDecoder, by_network, decode_data
    from speechlm.recognizer.model import AlignmentModel
    from speechlm.recognizer.network import Network
    from speechlm.recognizer.speakers import load_speakers
    from speechlm.recognizer.utterance_graph import read_pronunciations

    device, network = device_of(args), Network.load(args.phone_model)
    model = AlignmentModel.load(args.model)
    config = SearchConfig.load(args.tuned or (args.phone_scores or args.graph) / "search.json")
    given = {f.name: getattr(args, f.name, None) for f in fields(config)}
    config = replace(config, **{name: x for name, x in given.items() if x is not None})
    data, decoder = DataDir.read(args.data_dir), WordDecoder(args.graph, config)
    if args.speechlm is None:
        score = by_network(network)
    else:
        from speechlm.decode.phone_scores import PhoneScores

        classes = network.classes.table, model.hmm.classes
        score = PhoneScores.load(args.speechlm, args.phone_scores, *classes, device).of(
            data, network
        )
    found = decode_data(
        data,
        model,
        score,
        decoder,
        load_speakers(args.speakers),
        read_pronunciations(args.lexicon),
        args.output,
        job=args.job,
        per_utterance=args.per_utterance,
    )
    if args.text:
        _write_text(Path(args.text), data, config, found)


def _write_text(folder: Path, data: DataDir, config: SearchConfig, found: DecodedWords) -> None:
    """Words of all utterances without noise; those that could not be decoded have none."""
    from speechlm.conventions import SAMPLE_RATE
    from speechlm.decode.hypotheses import TEXT, SearchReport, write_hypotheses
    from speechlm.recognizer.topology import UNKNOWN

    samples = data.samples()
    words = {u: found.text.get(u, "").split() for u in samples}
    spoken = {u: " ".join(word for word in words[u] if word != UNKNOWN) for u in samples}
    write_hypotheses(folder / TEXT, spoken)
    report = SearchReport(
        "graph",
        "ngram",
        weights={"acoustic_scale": config.acoustic_scale},
        beam={"beam": config.beam, "max_active": config.max_active},
        utterances=len(samples),
        audio_seconds=sum(samples.values()) / SAMPLE_RATE,
        search_seconds=found.search_seconds,
        unfinished=found.outcome.partial,
        empty=sorted(samples.keys() - found.text.keys()),
    )
    report.write(folder)


if __name__ == "__main__":
    run(main)
