"""The dump stage: check every audio file, filter by length, convert what is no 16 kHz FLAC."""

from __future__ import annotations

import hashlib
import logging
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speechlm.conventions import SAMPLE_RATE, WINDOW
from speechlm.data import audio
from speechlm.data.atomic import output_file, remove_leftovers, write_text
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report
from speechlm.data.validate import REPORT, read_and_check

_KINDS = {
    audio.TruncatedAudio: "truncated audio",
    audio.EmptyAudio: "empty audio",
    audio.ChannelError: "more than one channel",
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


@dataclass(frozen=True)
class _Result:
    """One file: where its usable audio is and how long, or what is wrong with it."""

    path: str = ""
    n_samples: int = 0
    kind: str = ""
    detail: str = ""


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
    for utterance, result in results.items():
        seconds = result.n_samples / options.rate
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
    chosen.write(folder)
    return chosen, report


def _run(data: DataDir, folder: Path, options: FormatOptions, n_jobs: int) -> dict[str, _Result]:
    work = partial(_format_one, folder=folder, options=options)
    ids = data.ids
    paths = [data.wav[u] for u in ids]
    if n_jobs <= 1:
        return dict(zip(ids, map(work, ids, paths), strict=True))
    with ProcessPoolExecutor(n_jobs) as pool:
        return dict(zip(ids, pool.map(work, ids, paths, chunksize=16), strict=True))


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
        waveform = audio.resample(waveform, rate, options.rate)
        if len(waveform) == 0:
            return _Result(kind="empty audio", detail="no samples are left after resampling")
        with output_file(target, tidy=False) as temporary:
            audio.write_flac(temporary, waveform, options.rate)
            changed = os.stat(path).st_mtime_ns  # tells later which recording this was made from
            os.utime(temporary, ns=(changed, changed))
        return _Result(str(target), len(waveform))
    except audio.AudioError as error:
        return _Result(kind=_KINDS.get(type(error), "unreadable audio"), detail=error.reason)


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
    """Remove what was converted with other options, or from recordings in other folders.

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
    digest = hashlib.sha256("\n".join(places).encode()).hexdigest()
    wanted = f"{options.rate} Hz, mixed {options.mix_channels}, recordings of {digest}\n"
    if note.is_file() and note.read_text() == wanted:
        return
    for old in folder.glob("*.flac"):
        old.unlink()
    write_text(note, wanted)
