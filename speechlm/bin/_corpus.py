"""What the mains that prepare a corpus share: the limit of what may be wrong, and the writing."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechlm.data.kaldi_dir import DataDir
    from speechlm.data.report import Report


def add_max_bad_share(options: argparse.ArgumentParser) -> None:
    """--max_bad_share."""
    options.add_argument(
        "--max_bad_share", type=float, default=0.1, help="stop if more than this share is left out"
    )


def write_corpus(
    output: str, data: DataDir, report: Report, source: str, max_bad_share: float
) -> None:
    """Write the report and, unless too much is wrong, the data directory.

    Args:
        output: the data directory.
        data: what was read.
        report: what was left out of it.
        source: where it is from, for messages.
        max_bad_share: share of the utterances that may be left out.

    Raises:
        ValueError: more was left out, or nothing remains.
    """
    from speechlm.data.validate import REPORT

    Path(output).mkdir(parents=True, exist_ok=True)
    report.write(Path(output) / REPORT)
    report.check_share(len(data), max_bad_share, source)
    data.write(output)
    counts = f"{len(data)} utterances, {len(data.spk2utt)} speakers"
    logging.info("%s: %s; %s", output, counts, report.summary())
