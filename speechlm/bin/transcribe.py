"""What is said in recordings of any length and format: text, CTM or JSON.

Without --lm the best character of each frame is taken. With it the search is through the words of a
decoding graph. A recording that cannot be read is a line among the errors (and an empty line in
text on standard output); the others go on, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import logging
from functools import partial
from pathlib import Path

from speechlm.bin._cli import at_least, parser, run
from speechlm.bin._options import add_ctc_weights, add_device, device_of
from speechlm.bin._recordings import Writing, add_recordings, write_each
from speechlm.bin._search import WEIGHTS, add_nbest, add_search, search_of

NBEST = 50
"""Sentences of a segment from which confidences are taken; as in `speechlm.decode.transcribe`."""


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    p.add_argument("--model", required=True, help="folder of a fine-tuning, ours or imported")
    add_ctc_weights(p)
    add_search(p, "--lm")
    add_nbest(p, NBEST)
    p.add_argument("--format", choices=("text", "ctm", "json"), default="text", help="of results")
    p.add_argument(
        "--window",
        type=float,
        help="seconds of a long recording that the network sees at once, at most; none: as long as "
        "the longest utterance it was fine-tuned on, but at most 24",
    )
    p.add_argument(
        "--batch_samples", type=at_least(1), default=1_600_000, help="padded samples of a batch"
    )
    add_device(p)
    add_recordings(p)
    return p


def open_transcriber(args: argparse.Namespace):
    """A function from the path of a recording to its transcript."""
    from dataclasses import replace

    from speechlm.decode.transcribe import CTC, trained_windows

    model = CTC.from_pretrained(args.model, args.weights, device_of(args))
    lm = search_of(args, NBEST)[1]
    window = trained_windows(Path(args.model))
    if args.window is not None:
        window = replace(window, longest=args.window, usual=min(window.usual, args.window))
    return lambda path: model.transcribe([path], lm, window, args.batch_samples)[0]


def main() -> None:
    """Parse, transcribe, write."""
    args = options().parse_args()
    from speechlm.decode.transcribe import tuned_weights
    from speechlm.decode.transcribe_files import Recording
    from speechlm.decode.transcript import FORMATS, Transcript

    given = [getattr(args, name) for name in WEIGHTS]
    if args.graph and not args.tuned and not args.paper and None in given:
        args.tuned = tuned_weights(Path(args.model), args.search)
    form, ending = FORMATS[args.format]

    def write(recording: Recording, found: Transcript) -> str:
        _warn(recording.path, found)
        return form(recording.name, recording.path, found)

    without = "\n" if args.format == "text" else ""
    write_each(args, partial(open_transcriber, args), Writing("transcript", write, ending, without))


def _warn(path: str, transcript) -> None:
    unfinished = sum(not segment.complete for segment in transcript.segments)
    if unfinished:
        logging.warning("%s: the last words of %d segments may be cut off", path, unfinished)


if __name__ == "__main__":
    run(main)
