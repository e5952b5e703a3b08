"""The dump stage as jobs on several machines: a plan, a job for each part, and the end.

    TARGET/.parts/JOB.list       what a job checks: a line a file, in JSON
    TARGET/.parts/JOB.results    what became of it; the first line says by which rules

A job that is started again takes from its results what is as it was: files are read again only
where their size or time has changed. Copies are in TARGET/audio, and are kept as well.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from speechlm.data.atomic import output_file
from speechlm.data.conversion import RULES, AudioOptions, Recording, Result
from speechlm.data.format import (
    AUDIO,
    FormatOptions,
    WholeFile,
    prepare,
    read_source,
    utterances_of,
    write_dump,
)
from speechlm.data.kaldi_dir import DataDir, show_ids
from speechlm.data.report import Report
from speechlm.data.segments import AudioRange, Segment

PARTS = ".parts"
"""Folder of the parts inside a dump directory."""

Item = WholeFile | Recording


@dataclass(frozen=True)
class Found:
    """What a job has found in a file."""

    path: str
    state: str
    """See `AudioRange.state`; empty if it was not there."""
    results: dict[str, Result]

    def holds(self, item: Item) -> bool:
        """Whether reading the file again would give the same: nothing of it is a copy."""
        names = item.parts.keys() if isinstance(item, Recording) else {item.utterance}
        in_place = all(r.kind or r.path == item.path for r in self.results.values())
        return bool(self.state) and names == self.results.keys() and in_place


def plan_parts(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: FormatOptions,
    n_jobs: int,
) -> None:
    """Check the tables of `source` and say what each of so many jobs is to do.

    Results of other numbers of jobs are removed.

    Raises:
        ValueError: as `format_data` for the tables.
    """
    data, _ = read_source(source, target, options)
    folder = Path(target) / PARTS
    folder.mkdir(parents=True, exist_ok=True)
    lists = {f"{job}.list" for job in range(1, n_jobs + 1)}
    if {path.name for path in folder.glob("*.list")} != lists:
        shutil.rmtree(folder)
    for job, items in enumerate(_cut(utterances_of(data), n_jobs), 1):
        path = folder / f"{job}.list"
        with output_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(_listed(item))}\n" for item in items)


def prepare_part(target: str | os.PathLike[str], options: FormatOptions, job: int) -> int:
    """Do what the plan has for a job.

    Returns:
        How many files were read; the others are as they were when the job ran before.

    Raises:
        ValueError: there is no plan.
    """
    folder, n_read = Path(target) / PARTS, 0
    place, path = folder / f"{job}.list", folder / f"{job}.results"
    if not place.is_file():
        raise ValueError(f"{place} expected, but it is not there; run format_data --plan first")
    known = {found.path: found for found in _read_results(path, options)}
    with output_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f"{json.dumps(_rules(options))}\n")
        for item in _read_list(place):
            state, found = _state(item.path), known.get(item.path)
            if found is None or found.state != state or not found.holds(item):
                results = prepare(item, Path(target) / AUDIO, options)
                found, n_read = Found(item.path, state, results), n_read + 1
            file.write(f"{json.dumps(asdict(found))}\n")
    return n_read


def finish_parts(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: FormatOptions,
    n_jobs: int,
) -> tuple[DataDir, Report]:
    """Write the dump directory of what all jobs have found, as `format_data` does.

    Raises:
        ValueError: as `format_data`, and if a job's results are missing or of other tables.
    """
    data, report = read_source(source, target, options)
    folder, results = Path(target) / PARTS, dict[str, Result]()
    for job in range(1, n_jobs + 1):
        path = folder / f"{job}.results"
        if not path.is_file():
            raise ValueError(f"{path} expected, but job {job} of {n_jobs} has not written it")
        for found in _read_results(path, options):
            results |= found.results
    if odd := sorted(results.keys() ^ data.wav.keys()):
        raise ValueError(
            f"{folder}: the jobs were planned for other tables than those of {source} now:"
            f" {show_ids(odd)}; start the stage again"
        )
    written = write_dump(source, target, options, data, report, results)
    shutil.rmtree(folder)
    return written


def _cut(items: Sequence[Item], n: int) -> Iterator[Sequence[Item]]:
    """n runs with about as many utterances each; some may be empty."""
    sizes = [len(item.parts) if isinstance(item, Recording) else 1 for item in items]
    total, done, start = sum(sizes), 0, 0
    for job in range(1, n + 1):
        stop = start
        while stop < len(items) and (job == n or done * n < total * job):
            done += sizes[stop]
            stop += 1
        yield items[start:stop]
        start = stop


def _listed(item: Item) -> dict[str, object]:
    if isinstance(item, WholeFile):
        return {"path": item.path, "utterance": item.utterance}
    return {"path": item.path, "parts": {u: asdict(s) for u, s in item.parts.items()}}


def _read_list(path: Path) -> Iterator[Item]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            item = json.loads(line)
            if "parts" in item:
                parts = {u: Segment(**segment) for u, segment in item["parts"].items()}
                yield Recording(item["path"], parts)
            else:
                yield WholeFile(item["utterance"], item["path"])


def _read_results(path: Path, options: AudioOptions) -> Iterator[Found]:
    """What a job has found by these rules; nothing if they were others, or it has not run."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        if json.loads(file.readline()) != _rules(options):
            return
        for line in file:
            found = json.loads(line)
            results = {u: _result(fields) for u, fields in found["results"].items()}
            yield Found(found["path"], found["state"], results)


def _result(fields: dict) -> Result:
    segment = fields.pop("segment")
    fixed = tuple(fields.pop("fixed"))
    return Result(**fields, segment=segment and Segment(**segment), fixed=fixed)


def _rules(options: AudioOptions) -> dict[str, object]:
    """What else than the file decides what is found."""
    names = ("rate", "quick", "mix_channels")
    return {"rules": RULES, **{name: getattr(options, name) for name in names}}


def _state(path: str) -> str:
    try:
        return AudioRange(path).state()
    except OSError:
        return ""
