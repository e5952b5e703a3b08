"""The end of the dump stage: what jobs have found becomes the tables of the dump directory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechlm.conventions import SAMPLE_RATE, WINDOW
from speechlm.data.atomic import output_dir
from speechlm.data.conversion import Result
from speechlm.data.ctc_lengths import TOO_LONG, why_too_long
from speechlm.data.dir_parts import forget_splits
from speechlm.data.dump_tables import DumpTables
from speechlm.data.format_options import FormatOptions
from speechlm.data.format_parts import PARTS, kept_reading, raw_results, read_source, result_of
from speechlm.data.kaldi_dir import MOST_SHOWN, show_ids, translation_files
from speechlm.data.report import Report, kept_report
from speechlm.data.segments import SEGMENTS
from speechlm.data.sorting import side_by_side, sort_lines
from speechlm.data.utterances import Utterances
from speechlm.data.validate import REPORT, Checked, CheckedTables
from speechlm.progress import progress


def finish_parts(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: FormatOptions,
    n_jobs: int,
) -> tuple[Utterances, Report]:
    """Write the dump directory of what all jobs have found, and the index of its utterances.

    Tables and results are read side by side.

    Raises:
        ValueError: more than `max_bad_share` of the utterances are wrong, or none is left (the
            report is written all the same); a job's results are missing or of other tables.
    """
    folder = Path(target)
    paths = [folder / PARTS / f"{job}.results" for job in range(1, n_jobs + 1)]
    for job, path in enumerate(paths, 1):
        if not path.is_file():
            raise ValueError(f"{path} expected, but job {job} of {n_jobs} has not written it")
    tables = read_source(source, folder)
    with output_dir(folder / ".tables") as staged:
        with DumpTables(staged, tables.text, tables.languages, tables.parts) as written:
            report = _write(
                written, tables, _results(paths, options, tables, staged), options, folder
            )
        report.write(folder / REPORT)
        forget_splits(folder)
        _move(staged, folder)
    (folder / ".tables").rmdir()
    utterances = Utterances(folder)  # makes its index
    shutil.rmtree(folder / PARTS)
    return utterances, report


def _write(
    written: DumpTables,
    tables: CheckedTables,
    results: Iterator[tuple[str, tuple[str, Result]]],
    options: FormatOptions,
    target: Path,
) -> Report:
    """Write the tables, and complete the report of the utterances.

    Raises:
        ValueError: as `finish_parts`.
    """
    left_out, fixed, odd = Report(), Report(), _Odd()
    checked = ((found.utterance, found) for found in kept_reading(tables, target))
    both: list[Any] = [checked, results]
    for utterance, (found, result) in progress(side_by_side(both), "utterances"):
        if found is None or result is None or result[0] != found.path:
            odd.add(utterance)
        elif _is_usable(found, result[1], options, left_out):
            written.add(found, result[1])
            _report_fixed(fixed, found, result[1])
    if odd.n:
        raise ValueError(
            f"{target / PARTS}: the jobs were planned for other tables than those of"
            f" {tables.folder} now: {show_ids(odd.shown, odd.n)}; start the stage again"
        )
    report = tables.report
    report.items += left_out.items
    report.items += fixed.items
    with kept_report(target / REPORT):
        report.check_share(written.n, options.max_bad_share, str(tables.folder))
    return report


class _Odd:
    """Ids that do not belong together: how many, and the first of them."""

    def __init__(self) -> None:
        self.n, self.shown = 0, list[str]()

    def add(self, utterance: str) -> None:
        self.n += 1
        if self.n <= MOST_SHOWN:
            self.shown.append(utterance)


def _results(
    paths: list[Path], options: FormatOptions, tables: CheckedTables, room: Path
) -> Iterator[tuple[str, tuple[str, Result]]]:
    """(id, (path of the file, result)) of all utterances, in the order of the ids."""
    found = (
        (utterance, found["path"], fields)
        for path in paths
        for found in raw_results(path, options)
        for utterance, fields in found["results"].items()
    )
    if tables.parts:  # of recordings, whose utterances may stand between those of others
        lines = (f"{u} {json.dumps([path, fields])}\n".encode() for u, path, fields in found)
        ordered = sort_lines(lines, room, lambda line: line.partition(b" ")[0])
        pairs = (line.decode().split(" ", 1) for line in ordered)
        found = ((utterance, *json.loads(rest)) for utterance, rest in pairs)
    last = ""
    for utterance, path, fields in found:
        if utterance <= last:
            raise ValueError(
                f"{paths[0].parent}: the jobs were planned for different tables: {utterance} comes"
                f" after {last}; start the stage again"
            )
        yield utterance, (path, result_of(fields))
        last = utterance


def _is_usable(found: Checked, result: Result, options: FormatOptions, report: Report) -> bool:
    """Whether an utterance goes into the dump; if not, the report says why."""
    utterance, path, seconds = found.utterance, found.path, result.n_samples / options.rate
    if result.kind:
        report.leave_out(result.kind, utterance, path, result.detail)
    elif result.n_samples < WINDOW or seconds < options.min_seconds:
        report.filter("too short", utterance, path, f"{seconds:.2f} s")
    elif seconds > options.max_seconds:
        report.filter("too long", utterance, path, f"{seconds:.2f} s")
    else:
        # What is translated needs no CTC, and its test set is never shortened.
        transcript = "" if found.translations else found.text or ""
        why = why_too_long(transcript, round(seconds * SAMPLE_RATE), options.framing)
        if not why:
            return True
        report.leave_out(TOO_LONG, utterance, path, why)
    return False


def _report_fixed(report: Report, found: Checked, result: Result) -> None:
    for fix in result.fixed:
        kind, _, detail = fix.partition(": ")
        report.fix(kind, found.utterance, found.path, detail)


def _move(staged: Path, folder: Path) -> None:
    """Move tables; wav.scp comes last, so that a directory with wav.scp is complete."""
    names = set(os.listdir(staged))
    for old in [folder / SEGMENTS, folder / "text", *translation_files(folder).values()]:
        if old.name not in names:
            old.unlink(missing_ok=True)
    for name in [*sorted(names - {"wav.scp"}), "wav.scp"]:
        os.replace(staged / name, folder / name)
