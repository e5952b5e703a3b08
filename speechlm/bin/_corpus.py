"""What the mains that prepare a corpus share: the limit of what may be wrong, and the writing."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
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


def add_language(options: argparse.ArgumentParser) -> None:
    """--language, of text that is read before the recipe's language has a file."""
    options.add_argument(
        "--language",
        default="",
        help="code of the text's language, such as de or pt-BR; default: that of"
        " SPEECHLM_LANGUAGE, else English",
    )


def prepare_corpus(
    output: str, read: Callable[[], tuple[DataDir, Report]], source: str, max_bad_share: float
) -> DataDir:
    """Read a corpus, write its report and, unless too much is wrong, the data directory.

    Args:
        output: the data directory.
        read: returns what was read, and what was left out of it.
        source: where it is from, for messages.
        max_bad_share: share of the utterances that may be left out.

    Returns:
        What was read.

    Raises:
        ValueError: the corpus cannot be read, more was left out, or nothing remains. The report is
            there all the same.
    """
    from speechlm.data.report import kept_report
    from speechlm.data.validate import REPORT

    path = Path(output, REPORT)
    with kept_report(path):
        data, report = read()
        report.check_share(len(data), max_bad_share, source)
    report.write(path)
    data.write(output)
    counts = f"{len(data)} utterances, {len(data.spk2utt)} speakers"
    logging.info("%s: %s; %s", output, counts, report.summary())
    return data
