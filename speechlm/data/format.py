"""The dump stage: check every audio file, filter by length, convert what is no 16 kHz FLAC."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from speechlm.conventions import SAMPLE_RATE, WINDOW
from speechlm.data import audio, ranges
from speechlm.data.atomic import output_file, remove_leftovers, write_text
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report
from speechlm.data.segments import Segment
from speechlm.data.validate import REPORT, read_and_check

_KINDS = {
    audio.TruncatedAudio: "truncated audio",
    audio.EmptyAudio: "empty audio",
    audio.ChannelError: "more than one channel",
    ranges.RangeError: "segment outside of its recording",
}


@dataclass(frozen=True)
class FormatOptions:
    """What the audio of a dump directory must be."""

    rate: int = SAMPLE_RATE
    """Sampling rate (Hz)."""
    min_seconds: float = 0.0
    """Shorter utterances are filtered; less than one 25 ms frame always is."""
    max_seconds: float = float("inf")
    """Longer utterances are filtered."""
    quick: bool = False
    """Check header and end of sound files only (see audio.check_audio)."""
    mix_channels: bool = False
    """Take the mean of several channels instead of leaving such files out."""
    max_bad_share: float = 0.1
    """A larger share of wrong utterances stops the stage."""

    def __post_init__(self) -> None:
        if self.rate < 1:
            raise ValueError(f"a positive rate expected, got {self.rate}")
        if not 0 <= self.min_seconds <= self.max_seconds:
            raise ValueError(
                "0 <= min_seconds <= max_seconds expected, got"
                f" {self.min_seconds:g} and {self.max_seconds:g}"
            )
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share of 0..1 expected, got {self.max_bad_share:g}")


@dataclass(frozen=True, slots=True)
class _Result:
    """One utterance: where its usable audio is and how long, or what is wrong with it."""

    path: str = ""
    n_samples: int = 0
    kind: str = ""
    detail: str = ""
    segment: Segment | None = None
    """Of an utterance that stays a part of a recording."""
    fixed: str = ""
    """What was wrong with its segment, and could be put right."""


def format_data(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: FormatOptions,
    n_jobs: int = 1,
) -> tuple[DataDir, Report]:
    """Make the dump directory `target` of the data directory `source`.

    Mono FLAC of the right rate is used where it is; anything else that can be decoded becomes
    `target`/audio/ID.flac (those that an interrupted run has made are kept). Adds
    utt2num_samples and report.tsv. The result does not depend on `n_jobs`.

    Utterances that are parts of recordings (`segments`) stay parts of them, so that nothing is
    copied; if a recording has another format, each of its utterances becomes a file of its own.

    Raises:
        ValueError: more than `max_bad_share` of the utterances are wrong or none is left; the
            report is written all the same.
    """
    folder = Path(target)
    if folder.resolve() == Path(source).resolve():
        raise ValueError(f"two different directories expected, got {folder} twice")
    data, report = read_and_check(source)
    _forget_other_conversions(folder / "audio", data, options)
    if (folder / "audio").is_dir():
        remove_leftovers(folder / "audio")
    results = _run(data, folder / "audio", options, n_jobs)
    kept: dict[str, _Result] = {}
    for utterance, result in sorted(results.items()):
        seconds = result.n_samples / options.rate
        if result.fixed:
            report.fix(
                "segment reaches beyond the end", utterance, data.wav[utterance], result.fixed
            )
        if result.kind:
            report.leave_out(result.kind, utterance, data.wav[utterance], result.detail)
        elif result.n_samples < WINDOW or seconds < options.min_seconds:
            report.filter("too short", utterance, data.wav[utterance], f"{seconds:.2f} s")
        elif seconds > options.max_seconds:
            report.filter("too long", utterance, data.wav[utterance], f"{seconds:.2f} s")
        else:
            kept[utterance] = result
    folder.mkdir(parents=True, exist_ok=True)
    report.write(folder / REPORT)
    report.check_share(len(kept), options.max_bad_share, str(source))
    chosen = data.subset(kept)
    chosen.wav = {u: kept[u].path for u in chosen.wav}
    chosen.n_samples = {u: kept[u].n_samples for u in chosen.wav}
    chosen.segments = {u: s for u in chosen.wav if (s := kept[u].segment)}
    chosen.write(folder)
    return chosen, report


def _run(data: DataDir, folder: Path, options: FormatOptions, n_jobs: int) -> dict[str, _Result]:
    work = partial(_format_one, folder=folder, options=options)
    ids = [u for u in data.ids if u not in data.segments]
    paths = [data.wav[u] for u in ids]
    recordings = _recordings(data)
    parts = partial(_format_recording, folder=folder, options=options)
    if n_jobs <= 1:
        results = dict(zip(ids, map(work, ids, paths), strict=True))
        return results | _together(map(parts, recordings))
    with ProcessPoolExecutor(n_jobs) as pool:
        results = dict(zip(ids, pool.map(work, ids, paths, chunksize=16), strict=True))
        return results | _together(pool.map(parts, recordings))


@dataclass(frozen=True, slots=True)
class _Recording:
    """A recording, with those utterances that are parts of it."""

    path: str
    parts: dict[str, Segment]


def _recordings(data: DataDir) -> list[_Recording]:
    """The recordings of a data directory in the order of their first utterances."""
    found: dict[str, _Recording] = {}
    for utterance in sorted(data.segments):
        segment = data.segments[utterance]
        recording = _Recording(data.wav[utterance], {})
        found.setdefault(segment.recording, recording).parts[utterance] = segment
    return list(found.values())


def _together(results: Iterable[dict[str, _Result]]) -> dict[str, _Result]:
    return {utterance: result for part in results for utterance, result in part.items()}


def _format_recording(
    recording: _Recording, folder: Path, options: FormatOptions
) -> dict[str, _Result]:
    """The utterances of a recording, which is opened and checked once for all of them."""
    try:
        info = audio.read_header(recording.path)
        if info.container == "FLAC" and info.rate == options.rate and info.n_channels == 1:
            results = _check_parts(recording, info, options)
        else:
            results = _convert_parts(recording, folder, options)
    except audio.AudioError as error:
        return dict.fromkeys(recording.parts, _wrong(error))
    for utterance, segment in recording.parts.items():
        extra = ranges.overshoot(info, segment)
        if extra and not results[utterance].kind:
            fixed = f"{extra} samples at {info.rate} Hz"
            results[utterance] = replace(results[utterance], fixed=fixed)
    return results


def _check_parts(
    recording: _Recording, info: audio.AudioInfo, options: FormatOptions
) -> dict[str, _Result]:
    """Utterances that are used where they are."""
    segments = list(recording.parts.values())
    results = {}
    found = ranges.check_ranges(recording.path, info, segments, options.quick)
    for (utterance, segment), at in zip(recording.parts.items(), found, strict=True):
        if isinstance(at, audio.AudioError):
            results[utterance] = _wrong(at)
        else:
            exact = Segment.of_samples(segment.recording, *at, options.rate)
            results[utterance] = _Result(recording.path, at[1] - at[0], segment=exact)
    return results


def _convert_parts(
    recording: _Recording, folder: Path, options: FormatOptions
) -> dict[str, _Result]:
    """Utterances that become files; those that an earlier run has made are kept."""
    targets = {utterance: folder / f"{utterance}.flac" for utterance in recording.parts}
    done = {utterance for utterance in targets if _is_done(targets[utterance], recording.path)}
    results = {u: _Result(str(targets[u]), audio.read_header(targets[u]).n_samples) for u in done}
    rest = {u: segment for u, segment in recording.parts.items() if u not in done}
    ids, segments, rate = list(rest), list(rest.values()), audio.read_header(recording.path).rate
    for n, found in ranges.decode_ranges(recording.path, segments, options.mix_channels):
        if isinstance(found, audio.AudioError):
            results[ids[n]] = _wrong(found)
        else:
            results[ids[n]] = _write(targets[ids[n]], found, rate, recording.path, options)
    return results


def _wrong(error: audio.AudioError) -> _Result:
    return _Result(kind=_KINDS.get(type(error), "unreadable audio"), detail=error.reason)


def _format_one(utterance: str, path: str, folder: Path, options: FormatOptions) -> _Result:
    try:
        info = audio.read_header(path)
        if info.container == "FLAC" and info.rate == options.rate and info.n_channels == 1:
            audio.check_audio(path, options.quick)
            return _Result(path, info.n_samples)
        target = folder / f"{utterance}.flac"
        if _is_done(target, path):
            return _Result(str(target), audio.read_header(target).n_samples)
        waveform, rate = audio.decode_any(path, options.mix_channels)
        return _write(target, waveform, rate, path, options)
    except audio.AudioError as error:
        return _wrong(error)


def _write(
    target: Path, waveform: np.ndarray, rate: int, source: str, options: FormatOptions
) -> _Result:
    """Convert (S,) samples of a recording into a file."""
    waveform = audio.resample(waveform, rate, options.rate)
    if len(waveform) == 0:
        return _Result(kind="empty audio", detail="no samples are left after resampling")
    with output_file(target, tidy=False) as temporary:
        audio.write_flac(temporary, waveform, options.rate)
        changed = os.stat(source).st_mtime_ns  # tells later which recording this was made from
        os.utime(temporary, ns=(changed, changed))
    return _Result(str(target), len(waveform))


def _is_done(target: Path, source: str) -> bool:
    """Whether an earlier run has converted this file, which has not changed since."""
    if not target.is_file() or target.stat().st_mtime_ns != os.stat(source).st_mtime_ns:
        return False
    try:
        audio.read_header(target)
    except audio.AudioError:
        logging.getLogger(__name__).warning("%s is damaged and is made again", target)
        return False
    return True


def _forget_other_conversions(folder: Path, data: DataDir, options: FormatOptions) -> None:
    """Remove what was converted with other options, or from other recordings or parts of them."""
    places = sorted({os.path.dirname(os.path.abspath(path)) for path in data.wav.values()})
    places += [f"{utterance} {segment}" for utterance, segment in sorted(data.segments.items())]
    digest = hashlib.sha256("\n".join(places).encode()).hexdigest()
    wanted = f"{options.rate} Hz, mixed {options.mix_channels}, recordings of {digest}\n"
    note = folder.with_name(".conversion")
    if note.is_file() and note.read_text() == wanted:
        return
    for old in folder.glob("*.flac"):
        old.unlink()
    write_text(note, wanted)
