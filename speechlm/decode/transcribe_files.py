"""Recordings in files and folders, transcribed or translated in parallel jobs.

Each is a result or a failure.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from speechlm.data.audio import OTHER_SUFFIXES, SUFFIXES
from speechlm.data.audio_parts import AudioError
from speechlm.data.folders import files_below
from speechlm.data.names import safe_id
from speechlm.data.report import Report


@dataclass(frozen=True)
class Recording:
    """A file to transcribe or translate."""

    path: str
    name: str
    """No other one has it; without blanks, and fit for a file's name."""


@dataclass(frozen=True)
class Failure:
    """Why a recording has no result."""

    kind: str
    reason: str


Outcome = Any  # Transcript, Translated or Failure
Transcriber = Callable[[str], Any]
_transcriber: Transcriber | None = None  # of a job's process


def find_recordings(paths: Sequence[str], report: Report) -> list[Recording]:
    """The files that are named, and the audio files in the folders that are, in order.

    Files of other formats than the corpora have are left out of folders, and reported; what is no
    audio file there is noted. A file that is named is tried whatever it is called.

    Raises:
        ValueError: there is no audio file in a folder.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        found = list(_audio_below(path, report))
        if not found:
            raise ValueError(f"no recordings in {path}: files of {' '.join(SUFFIXES)} expected")
        files += found
    return [Recording(os.fspath(f), n) for f, n in zip(files, _names(files), strict=True)]


def transcribe_files(
    recordings: Sequence[Recording], opener: Callable[[], Transcriber], n_jobs: int
) -> Iterator[tuple[Recording, Outcome]]:
    """Transcripts or translations, or what went wrong, in the order of the recordings.

    Args:
        recordings: the files.
        opener: opens the model, once in each process; it must be picklable.
        n_jobs: processes; results do not depend on it.

    Raises:
        ValueError: the model cannot be opened, or a process was killed.
    """
    if n_jobs == 1 or len(recordings) == 1:
        transcriber = opener()
        for recording in recordings:
            yield recording, _outcome(transcriber, recording.path)
        return
    n_jobs = min(n_jobs, len(recordings))
    with ProcessPoolExecutor(n_jobs, get_context("spawn")) as pool:
        # the largest first, so that no job is alone at the end
        order = sorted(range(len(recordings)), key=lambda n: -_size(recordings[n].path))
        jobs = {n: pool.submit(_in_job, opener, recordings[n].path) for n in order}
        try:
            for n, recording in enumerate(recordings):
                yield recording, jobs.pop(n).result()
        except BrokenProcessPool:
            raise ValueError(
                "a job was killed, perhaps for want of memory; try a smaller --nj or --window"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_job(opener: Callable[[], Transcriber], path: str) -> Outcome:
    global _transcriber  # a process opens its model once
    if _transcriber is None:
        _transcriber = opener()
    return _outcome(_transcriber, path)


def _outcome(transcriber: Transcriber, path: str) -> Outcome:
    try:
        return transcriber(path)
    except AudioError as error:
        return Failure(error.kind, error.reason)
    except (ValueError, OSError) as error:
        return Failure("failed", str(error))


def _audio_below(folder: Path, report: Report) -> Iterator[Path]:
    """Audio files of a folder; the others go to the report."""
    allowed = f"one of {' '.join(SUFFIXES)} expected"
    for file in files_below(folder):
        suffix = file.suffix.lower()
        if suffix in SUFFIXES:
            yield file
        elif suffix in OTHER_SUFFIXES:
            report.leave_out("other audio format", file.name, file, f"{allowed}: convert it")
        else:
            report.note("no recording", file.name, file, allowed)


def _names(files: Sequence[Path]) -> list[str]:
    """A name for each file: its own without the ending, with its path where others have that."""
    short = [safe_id(file.stem) for file in files]
    long = [safe_id(os.fspath(file)) for file in files]
    # names are compared without case, as some file systems do
    count = Counter(name.lower() for name in short)
    names = [s if count[s.lower()] == 1 else n for s, n in zip(short, long, strict=True)]
    seen: Counter[str] = Counter()
    taken = {name.lower() for name in names}
    unique = []
    for name in names:
        seen[name.lower()] += 1
        fresh, number = name, seen[name.lower()]
        while number > 1 and fresh.lower() in taken:  # named twice
            fresh, number = f"{name}~{number}", number + 1
        taken.add(fresh.lower())
        unique.append(fresh)
    return unique


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.isfile(path) else 0
