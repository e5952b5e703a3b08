"""What is said in recordings of any length and format: text, CTM or JSON.

Without --lm the best character of each frame is taken. With it the search is through the words of a
decoding graph. A recording that cannot be read is a line among the errors (and an empty line in
text on standard output); the others go on, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from pathlib import Path

from speechlm.bin._cli import at_least, parser, run
from speechlm.bin._options import add_ctc_weights, add_device, device_of
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
    p.add_argument("--output", help="folder for a file each, and report.tsv; none: standard output")
    p.add_argument(
        "--window",
        type=float,
        help="seconds of a long recording that the network sees at once, at most; none: as long as "
        "the longest utterance it was fine-tuned on, but at most 24",
    )
    p.add_argument(
        "--batch_samples", type=at_least(1), default=1_600_000, help="padded samples of a batch"
    )
    p.add_argument("--nj", type=at_least(1), default=1, help="processes; results are the same")
    add_device(p)
    p.add_argument("audio", nargs="+", metavar="FILE", help="audio files, or folders with some")
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
    from speechlm.data.atomic import write_text
    from speechlm.data.report import Report
    from speechlm.data.validate import REPORT
    from speechlm.decode.transcribe import tuned_weights
    from speechlm.decode.transcribe_files import Failure, find_recordings, transcribe_files
    from speechlm.decode.transcript import FORMATS

    report = Report()
    recordings = find_recordings(args.audio, report)
    given = [getattr(args, name) for name in WEIGHTS]
    if args.graph and not args.tuned and not args.paper and None in given:
        args.tuned = tuned_weights(Path(args.model), args.search)
    write, ending = FORMATS[args.format]
    for recording, found in transcribe_files(recordings, partial(open_transcriber, args), args.nj):
        if isinstance(found, Failure):
            logging.error("%s: %s", recording.path, found.reason)
            report.leave_out(found.kind, recording.name, recording.path, found.reason)
            text = "\n" if args.format == "text" else ""
        else:
            _warn(recording.path, found)
            text = write(recording.name, recording.path, found)
        if not args.output:
            sys.stdout.write(text)
            sys.stdout.flush()
            continue
        path = Path(args.output) / f"{recording.name}{ending}"
        if isinstance(found, Failure):
            path.unlink(missing_ok=True)  # an earlier run's is not this recording's
        else:
            write_text(path, text)
    if args.output:
        report.write(Path(args.output) / REPORT)
    _end(report, len(recordings))


def _warn(path: str, transcript) -> None:
    unfinished = sum(not segment.complete for segment in transcript.segments)
    if unfinished:
        logging.warning("%s: the last words of %d segments may be cut off", path, unfinished)


def _end(report, total: int) -> None:
    """ValueError that lists what has no transcript, if there is something."""
    failed = [item for item in report.items if item.what == "left out"]
    if failed:
        lines = "".join(f"\n  {i.path}: {i.kind}, {i.detail}" for i in failed)
        raise ValueError(
            f"{len(failed)} recordings have no transcript ({total} were tried):{lines}"
        )


if __name__ == "__main__":
    run(main)
