"""The dump stage: check every audio file, filter by length, convert what is no 16 kHz FLAC."""

from __future__ import annotations

import os

from speechlm.data.format_finish import finish_parts
from speechlm.data.format_options import FormatOptions
from speechlm.data.format_parts import plan_parts, prepare_part
from speechlm.data.report import Report
from speechlm.data.utterances import Utterances


def format_data(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: FormatOptions,
    n_jobs: int = 1,
) -> tuple[Utterances, Report]:
    """Make the dump directory `target` of the data directory `source`.

    Mono FLAC of the right rate and with a true header is used where it is; anything else that can
    be decoded becomes `target`/audio/ID.flac (those that an interrupted run has made are kept).
    Adds utt2num_samples, report.tsv and the index of the utterances. The result does not depend on
    `n_jobs`, the number of processes.

    Utterances that are parts of recordings (`segments`) stay parts of them, so that nothing is
    copied; if a recording has another format, each of its utterances becomes a file of its own.

    Raises:
        ValueError: more than `max_bad_share` of the utterances are wrong, none is left, or there is
            no data directory; the report is written all the same.
    """
    plan_parts(source, target, options, 1)
    prepare_part(target, options, 1, n_jobs)
    return finish_parts(source, target, options, 1)
