"""What a training leaves out of a data directory: logged, and listed in the training's folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from speechlm.data.kaldi_dir import MOST_SHOWN, show_ids, write_table
from speechlm.data.report import Report


def list_left_out(report: Report, n_used: int, source: Path, output: Path | None) -> None:
    """Log what is left out and why, the first ids of it, and write the whole report.

    Args:
        report: what is left out, an item an utterance.
        n_used: number of the other utterances.
        source: what they are from, for messages.
        output: file of the report, left_out.PART.tsv; None: log only.
    """
    if output is not None:
        report.write(output)
    logging.info("%s: %d utterances used, %d left out", source, n_used, len(report.items))
    if report.items:
        few = [f"{item.utterance} ({item.detail})" for item in report.items[:MOST_SHOWN]]
        listed = "" if output is None else f"; listed in {output}"
        logging.warning(
            "%s: %s%s: %s", source, report.summary(), listed, show_ids(few, len(report.items))
        )


def used_samples(
    report: Report, samples: Mapping[str, int], source: Path, output: Path, part: str, first: bool
) -> Path:
    """Keep utterances out of a part of an ESPnet training.

    Args:
        report: what is left out, an item an utterance.
        samples: samples of all utterances.
        source: what they are from, for messages.
        output: folder of the training, in which left_out.PART.tsv becomes the report.
        part: `train` or `valid`.
        first: whether this worker writes.

    Returns:
        utt2num_samples.PART in `output`: the other utterances with their samples, of which ESPnet
        makes batches.

    Raises:
        ValueError: no utterance is left.
    """
    absent = {item.utterance for item in report.items}
    used = {utterance: n for utterance, n in samples.items() if utterance not in absent}
    shapes = output / f"utt2num_samples.{part}"
    list_left_out(report, len(used), source, output / f"left_out.{part}.tsv" if first else None)
    report.check_share(len(used), 1.0, str(source))
    if first:
        write_table(shapes, used)
    return shapes
