"""Libri-Light's layout: PART/SPEAKER/BOOK/NAME.flac of up to an hour, with NAME.json beside it.

The JSON file has under `voice_activity` a list of [start, end] in seconds, from which segments are
made; where it cannot be used, they are made from the energy of the recording. Nothing is copied:
utterances are parts of the recordings. Source: data_preparation/README.md of
facebookresearch/libri-light. The utterance id is SPEAKER-BOOK-NAME-START, START in hundredths of a
second, so the speaker is its prefix; blanks and the like are escaped (`names.safe_id`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from speechlm.data import audio
from speechlm.data.folders import files_below, part_folders
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.names import MAX_BYTES, path_problem, safe_id
from speechlm.data.report import Refused, Report
from speechlm.data.segments import Segment
from speechlm.data.voice_activity import CutOptions, Interval, cut, find_speech, sound_intervals
from speechlm.progress import progress

_TABLE = "voice_activity"
_SPEAKER = 40  # bytes of an id that a speaker's name may have
_REST = MAX_BYTES - _SPEAKER - len("--0000000")  # those for book and name


def read_librilight(
    corpus: str | os.PathLike[str], parts: Sequence[str], options: CutOptions, n_jobs: int = 1
) -> tuple[DataDir, Report]:
    """Read the parts into one data directory of speech alone.

    Of recordings with a table of voice activity only headers are read, the others to their end. The
    result does not depend on `n_jobs`.

    Returns:
        The data, and what was left out: unreadable recordings, those without speech, misplaced
        files, tables without a recording, duplicates; filtered: segments that are too short; fixed:
        tables that are not there or wrong, intervals that are wrong or reach beyond the end, names
        that are no ids.

    Raises:
        ValueError: the corpus or a part is not there.
        Refused: nothing can be used.
    """
    report = Report()
    folders = part_folders(corpus, parts, "Libri-Light corpus")
    recordings = _find(folders, report)
    wav: dict[str, str] = {}
    utt2spk: dict[str, str] = {}
    segments: dict[str, Segment] = {}
    results = _cut_all(recordings, options, n_jobs)
    shown = progress(results, "recordings", len(recordings))
    for (name, path), (found, noted) in zip(recordings.items(), shown, strict=True):
        report.items += noted.items
        file, speaker = str(path), _speaker(path)
        for start, end in found:
            utterance = _utterance(name, start)
            wav[utterance] = file
            utt2spk[utterance] = speaker
            segments[utterance] = Segment(name, start, end)
    if not wav:
        raise Refused(
            f"no speech in {' '.join(map(str, folders))}: files like"
            f" SPEAKER/BOOK/NAME.flac expected. {report.summary()}",
            report,
        )
    return DataDir(wav, utt2spk, segments=segments), report


def _find(parts: Sequence[Path], report: Report) -> dict[str, Path]:
    """The recordings of the parts by name, SPEAKER-BOOK-NAME."""
    found: dict[str, Path] = {}
    recordings: set[Path] = set()
    tables: list[Path] = []
    for part in parts:
        for path in progress(files_below(part), f"files of {part.name}"):
            suffix = path.suffix.lower()
            if suffix == ".json" and len(path.relative_to(part).parts) == 3:
                tables.append(path)
            elif suffix == ".flac":
                recordings.add(path.with_suffix(""))
                _add(part, path, found, report)
            elif suffix in audio.NOT_FLAC:
                detail = "Libri-Light's recordings are .flac"
                report.leave_out("not FLAC", path.stem, path, detail)
    for path in tables:
        if path.with_suffix("") not in recordings:
            report.leave_out("table without a recording", path.stem, path)
    return dict(sorted(found.items()))


def _add(part: Path, path: Path, found: dict[str, Path], report: Report) -> None:
    place = path.relative_to(part).with_suffix("").parts
    if len(place) != 3:
        report.leave_out("misplaced file", path.stem, path, "SPEAKER/BOOK/NAME.flac expected")
        return
    name = f"{_speaker(path)}-{safe_id('-'.join(place[1:]), _REST)}"
    if problem := path_problem(path):
        report.leave_out("bad path", name, repr(os.fspath(path)), problem)
    elif name in found:
        report.leave_out("duplicate id", name, path, f"{found[name]} is used")
    else:
        found[name] = path
        if name != "-".join(place):
            report.fix("name that is no id", name, path, f"the name is {'/'.join(place)!r}")


def _speaker(path: Path) -> str:
    return safe_id(path.parent.parent.name, _SPEAKER)


def _cut_all(
    recordings: Mapping[str, Path], options: CutOptions, n_jobs: int
) -> Iterator[tuple[list[Interval], Report]]:
    work = partial(_cut_recording, options=options)
    columns = (recordings.keys(), recordings.values())
    if n_jobs <= 1:
        yield from map(work, *columns)
        return
    with ProcessPoolExecutor(n_jobs) as pool:
        yield from pool.map(work, *columns, chunksize=32)


def _cut_recording(name: str, path: Path, options: CutOptions) -> tuple[list[Interval], Report]:
    """Segments of a recording, in whole milliseconds, and what is to be said of it."""
    report = Report()
    try:
        intervals = _read_intervals(name, path, report)
        if intervals is None:
            intervals = find_speech(path)
    except audio.AudioError as error:
        report.leave_out(error.kind, name, path, error.reason)
        return [], report
    if not intervals:
        report.leave_out("no speech", name, path)
    kept, short = cut(intervals, options)
    for start, end in short:
        report.filter("too short", _utterance(name, start), path, f"{end - start:.2f} s")
    return [(_milliseconds(start), _milliseconds(end)) for start, end in kept], report


def _read_intervals(name: str, path: Path, report: Report) -> list[Interval] | None:
    """What the JSON file beside a recording says; None if it says nothing that can be used."""
    table, info = path.with_suffix(".json"), audio.read_header(path)
    if not table.is_file():
        report.fix("no table of voice activity", name, path, "cut by energy")
        return None
    try:
        content = json.loads(table.read_bytes())
    except (ValueError, RecursionError) as error:
        report.fix("broken JSON", name, table, f"{error}; cut by energy")
        return None
    if info.n_samples is None:
        info = audio.measure(path)
    assert info.n_samples is not None
    seconds = info.n_samples / info.rate
    listed = content.get(_TABLE) if isinstance(content, dict) else None
    found = sound_intervals(listed, seconds)
    if found is None:
        detail = f"`{_TABLE}` has no [start, end] pairs within the recording; cut by energy"
        report.fix("no table of voice activity", name, table, detail)
        return None
    intervals, n_wrong, n_beyond = found
    if n_wrong:
        detail = f"{n_wrong} intervals are not used"
        report.fix("wrong voice activity", name, table, detail)
    if n_beyond:
        detail = f"{n_beyond} intervals are cut at {seconds:.2f} s"
        report.fix("voice activity beyond the end", name, table, detail)
    return intervals


def _utterance(recording: str, start: float) -> str:
    """The id of a segment; in the order of time, too, up to two hours."""
    return f"{recording}-{math.floor(start * 100 + 1e-6):06d}"


def _milliseconds(seconds: float) -> float:
    """Rounded down, so that an end does not get beyond that of the recording."""
    return math.floor(seconds * 1000 + 1e-6) / 1000
