"""What the programs have in common that write something of each of some recordings."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechlm.bin._cli import at_least
from speechlm.progress import progress


@dataclass(frozen=True)
class Writing:
    """How results are written."""

    what: str
    """What a result is called."""
    text: Callable[[Any, Any], str]
    """Recording, result -> its lines."""
    ending: str
    """Of the names of files."""
    without: str
    """Lines of a recording that has no result, on standard output."""


def add_recordings(options: argparse.ArgumentParser) -> None:
    """--output, --nj and the recordings."""
    options.add_argument(
        "--output", help="folder for a file each, and report.tsv; none: standard output"
    )
    options.add_argument(
        "--nj", type=at_least(1), default=1, help="processes; results are the same"
    )
    options.add_argument(
        "audio", nargs="+", metavar="FILE", help="audio files, or folders with some"
    )


def write_each(
    args: argparse.Namespace, opener: Callable[[], Callable[[str], Any]], writing: Writing
) -> None:
    """Write the results of all recordings, in their order, and go on after those that have none.

    Args:
        args: the options of `add_recordings`.
        opener: gives a function from the path of a recording to its result; picklable.
        writing: how to write them.

    Raises:
        ValueError: the model cannot be opened, or recordings have no result; they are listed.
    """
    from speechlm.data.atomic import write_text
    from speechlm.data.report import Report
    from speechlm.data.validate import REPORT
    from speechlm.decode.transcribe_files import Failure, find_recordings, transcribe_files

    report = Report()
    recordings = find_recordings(args.audio, report)
    results = transcribe_files(recordings, opener, args.nj)
    if args.output:  # on a terminal results and a line that moves would mix
        results = progress(results, "recordings", len(recordings))
    for recording, found in results:
        if isinstance(found, Failure):
            logging.error("%s: %s", recording.path, found.reason)
            report.leave_out(found.kind, recording.name, recording.path, found.reason)
            text = writing.without
        else:
            text = writing.text(recording, found)
        if not args.output:
            sys.stdout.write(text)
            sys.stdout.flush()
            continue
        path = Path(args.output) / f"{recording.name}{writing.ending}"
        if isinstance(found, Failure):
            path.unlink(missing_ok=True)  # an earlier run's is not this recording's
        else:
            write_text(path, text)
    if args.output:
        report.write(Path(args.output) / REPORT)
    _end(report, len(recordings), writing.what)


def _end(report: Any, total: int, what: str) -> None:
    """ValueError that lists what has no result, if there is something."""
    failed = [item for item in report.items if item.what == "left out"]
    if failed:
        lines = "".join(f"\n  {i.path}: {i.kind}, {i.detail}" for i in failed)
        raise ValueError(f"{len(failed)} recordings have no {what} ({total} were tried):{lines}")
