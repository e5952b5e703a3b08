"""The dump stage: check every audio file, filter by length, convert what is no 16 kHz FLAC."""

from __future__ import annotations

import hashlib
import logging
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speechlm.conventions import PAPER_FRAMING, SAMPLE_RATE, WINDOW, Framing
from speechlm.data import audio
from speechlm.data.atomic import output_file, remove_leftovers, write_text
from speechlm.data.ctc_lengths import TOO_LONG, why_too_long
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report, kept_report
from speechlm.data.validate import REPORT, read_and_check

_KINDS = {
    audio.TruncatedAudio: "truncated audio",
    audio.EmptyAudio: "empty audio",
    audio.ChannelError: "more than one channel",
}
_WRONG_LENGTH = "wrong length in the header"
_CLIPPING = "clipped"
_CLIPPED = 0.001
"""Share of samples beyond full scale from which a file is reported; fewer are usual after MP3."""
_RULES = 2
"""Number of the rules of conversion: what was converted by others is made again."""


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
    """Check header and end of FLAC files only (see audio.check_audio)."""
    mix_channels: bool = False
    """Take the mean of several channels instead of leaving such files out."""
    max_bad_share: float = 0.1
    """A larger share of wrong utterances stops the stage."""
    framing: Framing = PAPER_FRAMING
    """Frames of the front end; a transcript with more letters than CTC can write in its frames is
    left out. Samples of other rates are counted as those of 16 kHz that last as long."""

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
    fixed: tuple[str, ...] = ()
    """What was put right, each as `kind: detail`."""


def format_data(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: FormatOptions,
    n_jobs: int = 1,
) -> tuple[DataDir, Report]:
    """Make the dump directory `target` of the data directory `source`.

    Mono FLAC of the right rate and with a true header is used where it is; anything else that can
    be decoded becomes `target`/audio/ID.flac (those that an interrupted run has made are kept).
    Adds utt2num_samples and report.tsv. The result does not depend on `n_jobs`.

    Raises:
        ValueError: more than `max_bad_share` of the utterances are wrong, none is left, or there is
            no data directory; the report is written all the same.
    """
    folder = Path(target)
    if folder.resolve() == Path(source).resolve():
        raise ValueError(f"two different directories expected, got {folder} twice")
    with kept_report(folder / REPORT):
        data, report = read_and_check(source)
    _forget_other_conversions(folder / "audio", data, options)
    if (folder / "audio").is_dir():
        remove_leftovers(folder / "audio")
    results = _run(data, folder / "audio", options, n_jobs)
    kept = {u: r for u, r in results.items() if _is_usable(u, r, data, options, report)}
    for utterance, result in kept.items():
        _report_fixed(report, utterance, data.wav[utterance], result)
    with kept_report(folder / REPORT):
        report.check_share(len(kept), options.max_bad_share, str(source))
    report.write(folder / REPORT)
    chosen = data.subset(kept)
    chosen.wav = {u: kept[u].path for u in chosen.wav}
    chosen.n_samples = {u: kept[u].n_samples for u in chosen.wav}
    chosen.write(folder)
    return chosen, report


def _is_usable(
    utterance: str, result: _Result, data: DataDir, options: FormatOptions, report: Report
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
            info = audio.check_audio(path, options.quick)
            if info.plain and info.n_samples is not None:
                return _Result(path, info.n_samples)
        target = folder / f"{utterance}.flac"
        return _done(target, path) or _convert(target, path, options)
    except audio.AudioError as error:
        return _Result(kind=_KINDS.get(type(error), "unreadable audio"), detail=error.reason)


def _convert(target: Path, source: str, options: FormatOptions) -> _Result:
    """Write a file as mono FLAC of the right rate.

    Silence and length are judged on the samples that are written: mixed, resampled, rounded.
    """
    decoded = audio.decode_whole(source, options.mix_channels)
    waveform = audio.resample(decoded.waveform, decoded.rate, options.rate)
    audio.expect_sound(source, waveform, " after resampling")
    samples, n_clipped = audio.to_16_bits(waveform)
    audio.expect_sound(source, samples, " after rounding to 16 bits")
    fixed = [f"{_WRONG_LENGTH}: {decoded.note}"] if decoded.note else []
    if n_clipped > _CLIPPED * len(samples):
        fixed.append(f"{_CLIPPING}: {n_clipped} of {len(samples)} samples were beyond full scale")
    with output_file(target, tidy=False) as temporary:
        audio.write_flac(temporary, samples, options.rate, "\n".join(fixed))
        changed = os.stat(source).st_mtime_ns  # tells later which recording this was made from
        os.utime(temporary, ns=(changed, changed))
    return _Result(str(target), len(samples), fixed=tuple(fixed))


def _report_fixed(report: Report, utterance: str, path: str, result: _Result) -> None:
    for fix in result.fixed:
        kind, _, detail = fix.partition(": ")
        report.fix(kind, utterance, path, detail)


def _done(target: Path, source: str) -> _Result | None:
    """What an earlier run has made of this file, if it has not changed since."""
    if not target.is_file() or target.stat().st_mtime_ns != os.stat(source).st_mtime_ns:
        return None
    try:
        n_samples = audio.check_audio(target, quick=True).n_samples
        assert n_samples is not None
        fixed = tuple(audio.read_comment(target).splitlines())
        return _Result(str(target), n_samples, fixed=fixed)
    except audio.AudioError:
        logging.getLogger(__name__).warning("%s is damaged and is made again", target)
        return None


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
    wanted = (
        f"rules {_RULES}, {options.rate} Hz, mixed {options.mix_channels}, recordings of {digest}\n"
    )
    if note.is_file() and note.read_text() == wanted:
        return
    for old in folder.glob("*.flac"):
        old.unlink()
    write_text(note, wanted)
