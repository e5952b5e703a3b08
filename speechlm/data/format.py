"""The dump stage: check every audio file, filter by length, convert what is no 16 kHz FLAC."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speechlm.conventions import PAPER_FRAMING, SAMPLE_RATE, WINDOW, Framing
from speechlm.data.atomic import remove_leftovers, write_text
from speechlm.data.conversion import (
    RULES,
    AudioOptions,
    Recording,
    Result,
    prepare_file,
    prepare_parts,
)
from speechlm.data.ctc_lengths import TOO_LONG, why_too_long
from speechlm.data.dir_parts import forget_splits
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report, kept_report
from speechlm.data.utterances import Utterances
from speechlm.data.validate import REPORT, read_and_check

AUDIO = "audio"
"""Folder of the copies inside a dump directory."""


@dataclass(frozen=True, kw_only=True)
class FormatOptions(AudioOptions):
    """What the audio of a dump directory must be."""

    min_seconds: float = 0.0
    """Shorter utterances are filtered; less than 25 ms always is, a frame of the paper's model. A
    fast model's frames are of up to 55 ms: what has none is left out where it is trained."""
    max_seconds: float = float("inf")
    """Longer utterances are filtered."""
    max_bad_share: float = 0.1
    """A larger share of wrong utterances stops the stage."""
    framing: Framing = PAPER_FRAMING
    """Frames in which CTC writes; a transcript with more letters than it can write in them is left
    out. Samples of other rates are counted as those of 16 kHz that last as long. Those of the
    paper are the most that any size has: a fast model has as many CTC outputs, or one or two less,
    and its fine-tuning leaves out what is too long for these."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_seconds <= self.max_seconds:
            raise ValueError(
                "0 <= min_seconds <= max_seconds expected, got"
                f" {self.min_seconds:g} and {self.max_seconds:g}"
            )
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share of 0..1 expected, got {self.max_bad_share:g}")


def format_data(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: FormatOptions,
    n_jobs: int = 1,
) -> tuple[DataDir, Report]:
    """Make the dump directory `target` of the data directory `source`.

    Mono FLAC of the right rate and with a true header is used where it is; anything else that can
    be decoded becomes `target`/audio/ID.flac (those that an interrupted run has made are kept).
    Adds utt2num_samples, report.tsv and the index of the utterances. The result does not depend on
    `n_jobs`.

    Utterances that are parts of recordings (`segments`) stay parts of them, so that nothing is
    copied; if a recording has another format, each of its utterances becomes a file of its own.

    Raises:
        ValueError: more than `max_bad_share` of the utterances are wrong, none is left, or there is
            no data directory; the report is written all the same.
    """
    data, report = read_source(source, target, options)
    results = prepare_all(utterances_of(data), Path(target) / AUDIO, options, n_jobs)
    return write_dump(source, target, options, data, report, results)


def read_source(
    source: str | os.PathLike[str], target: str | os.PathLike[str], options: FormatOptions
) -> tuple[DataDir, Report]:
    """Read and check the tables of `source`; take away what `target` has of other audio.

    Returns:
        The utterances whose tables are right, and the report of the others.

    Raises:
        ValueError: there is no data directory, or `target` cannot be written; the report is
            written all the same.
    """
    folder = Path(target)
    if folder.resolve() == Path(source).resolve():
        raise ValueError(f"two different directories expected, got {folder} twice")
    with kept_report(folder / REPORT):
        data, report = read_and_check(source)
    (folder / "wav.scp").unlink(missing_ok=True)  # no older dump is read whose audio is replaced
    _forget_other_conversions(folder / AUDIO, data, options)
    if (folder / AUDIO).is_dir():
        remove_leftovers(folder / AUDIO)
    return data, report


def write_dump(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: FormatOptions,
    data: DataDir,
    report: Report,
    results: dict[str, Result],
) -> tuple[DataDir, Report]:
    """Write the dump directory and the index of its utterances.

    Args:
        source: the data directory, for messages.
        target: the dump directory.
        options: as in `format_data`.
        data: of `read_source`.
        report: of `read_source`; it is completed.
        results: what became of the audio of each utterance of `data`.

    Raises:
        ValueError: more than `max_bad_share` of the utterances are wrong, or none is left; the
            report is written all the same.
    """
    folder, results = Path(target), dict(sorted(results.items()))
    kept = {u: r for u, r in results.items() if _is_usable(u, r, data, options, report)}
    for utterance, result in kept.items():
        _report_fixed(report, utterance, data.wav[utterance], result)
    with kept_report(folder / REPORT):
        report.check_share(len(kept), options.max_bad_share, str(source))
    report.write(folder / REPORT)
    chosen = data.subset(kept)
    chosen.wav = {u: kept[u].path for u in chosen.wav}
    chosen.n_samples = {u: kept[u].n_samples for u in chosen.wav}
    chosen.segments = {u: s for u in chosen.wav if (s := kept[u].segment)}
    forget_splits(folder)
    chosen.write(folder)
    Utterances(folder)  # makes its index
    return chosen, report


def _is_usable(
    utterance: str, result: Result, data: DataDir, options: FormatOptions, report: Report
) -> bool:
    """Whether an utterance goes into the dump; if not, the report says why."""
    path, seconds = data.wav[utterance], result.n_samples / options.rate
    if result.kind:
        report.leave_out(result.kind, utterance, path, result.detail)
    elif result.n_samples < WINDOW or seconds < options.min_seconds:
        report.filter("too short", utterance, path, f"{seconds:.2f} s")
    elif seconds > options.max_seconds:
        report.filter("too long", utterance, path, f"{seconds:.2f} s")
    else:
        # What is translated needs no CTC, and its test set is never shortened.
        transcript = data.text[utterance] if data.text and not data.translations else ""
        why = why_too_long(transcript, round(seconds * SAMPLE_RATE), options.framing)
        if not why:
            return True
        report.leave_out(TOO_LONG, utterance, path, why)
    return False


@dataclass(frozen=True, slots=True)
class WholeFile:
    """An utterance that is all of a file."""

    utterance: str
    path: str


def utterances_of(data: DataDir) -> list[WholeFile | Recording]:
    """Whole files in the order of their ids, then recordings in that of their first utterances."""
    whole = [WholeFile(u, data.wav[u]) for u in data.ids if u not in data.segments]
    found: dict[str, Recording] = {}
    for utterance in sorted(data.segments):
        segment = data.segments[utterance]
        recording = Recording(data.wav[utterance], {})
        found.setdefault(segment.recording, recording).parts[utterance] = segment
    return [*whole, *found.values()]


def prepare(item: WholeFile | Recording, folder: Path, options: AudioOptions) -> dict[str, Result]:
    """What becomes of the utterances of a file; copies go into `folder`."""
    if isinstance(item, Recording):
        return prepare_parts(item, folder, options)
    return {item.utterance: prepare_file(item.utterance, item.path, folder, options)}


def prepare_all(
    items: Sequence[WholeFile | Recording], folder: Path, options: AudioOptions, n_jobs: int = 1
) -> dict[str, Result]:
    """The same of many files, in so many processes."""
    work = partial(prepare, folder=folder, options=options)
    whole = [item for item in items if isinstance(item, WholeFile)]
    recordings = [item for item in items if isinstance(item, Recording)]
    if n_jobs <= 1:
        found = list(map(work, items))
    else:
        with ProcessPoolExecutor(n_jobs) as pool:
            found = list(pool.map(work, whole, chunksize=16))
            found += pool.map(work, recordings)
    return {utterance: result for results in found for utterance, result in results.items()}


def _report_fixed(report: Report, utterance: str, path: str, result: Result) -> None:
    for fix in result.fixed:
        kind, _, detail = fix.partition(": ")
        report.fix(kind, utterance, path, detail)


def _forget_other_conversions(folder: Path, data: DataDir, options: FormatOptions) -> None:
    """Remove what was converted with other options, or from other recordings or parts of them.

    Raises:
        ValueError: the folder has recordings that no conversion made, or that are to be read.
    """
    places = sorted({os.path.dirname(os.path.abspath(path)) for path in data.wav.values()})
    note = folder.with_name(".conversion")
    read_here = os.path.realpath(folder) in {os.path.realpath(place) for place in places}
    if read_here or (not note.is_file() and any(folder.glob("*.flac"))):
        raise ValueError(
            f"{folder}: converted audio is written there, but it holds recordings already; "
            "choose another output folder"
        )
    places += [f"{utterance} {segment}" for utterance, segment in sorted(data.segments.items())]
    digest = hashlib.sha256("\n".join(places).encode()).hexdigest()
    wanted = (
        f"rules {RULES}, {options.rate} Hz, mixed {options.mix_channels}, recordings of {digest}\n"
    )
    if note.is_file() and note.read_text() == wanted:
        return
    for old in folder.glob("*.flac"):
        old.unlink()
    write_text(note, wanted)
