"""LibriSpeech's layout: PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac with a .trans.txt.

Source: README.TXT of the corpus (openslr.org/12). The utterance id is the file name, so the
speaker is its prefix.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from speechlm.data.audio import NOT_FLAC
from speechlm.data.folders import files_below, part_folders
from speechlm.data.kaldi_dir import DataDir, show_ids
from speechlm.data.names import path_problem, speaker_of
from speechlm.data.report import Refused, Report
from speechlm.data.transcripts import match_transcripts, read_transcripts, unmatched
from speechlm.progress import progress

_UTTERANCE = re.compile(r"([0-9]+)-([0-9]+)-[0-9]+")


def read_librispeech(
    corpus: str | os.PathLike[str], parts: Sequence[str], with_text: bool = True
) -> tuple[DataDir, Report]:
    """Read the parts into one data directory, without opening the audio.

    Utterances with no transcript, transcripts with no audio, duplicates and misplaced files are
    left out and reported. With `with_text` false transcripts are neither needed nor read.

    Raises:
        ValueError: the corpus or a part is not there.
        Refused: nothing can be used.
    """
    folders = part_folders(corpus, parts, "LibriSpeech corpus")
    report = Report()
    wav: dict[str, str] = {}
    text: dict[str, str | None] = {}
    for folder in folders:
        _read_part(folder, wav, text if with_text else None, report)
    if not wav:
        found = f"; found: {report.summary()}" if report.items else ""
        raise Refused(
            f"no utterances in {' '.join(map(str, folders))}: files like"
            f" SPEAKER/CHAPTER/SPEAKER-CHAPTER-0000.flac expected{found}",
            report,
        )
    transcripts = None
    if with_text:
        transcripts = match_transcripts(wav, text, report)
        if not wav:
            raise Refused(
                f"no utterance of {corpus} ({' '.join(parts)}) has audio and transcript."
                f" {report.summary()}. {unmatched(report)}",
                report,
            )
    utt2spk = {utterance: speaker_of(utterance) for utterance in wav}
    return DataDir(wav, utt2spk, transcripts), report


def read_speakers(corpus: str | os.PathLike[str]) -> dict[str, str]:
    """Speaker id -> m or f from SPEAKERS.TXT, empty if the corpus has no such file."""
    path = Path(corpus) / "SPEAKERS.TXT"
    genders: dict[str, str] = {}
    if not path.is_file():
        return genders
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        fields = [field.strip() for field in line.split("|")]
        if not line.startswith(";") and len(fields) >= 2 and fields[1] in ("M", "F"):
            genders[fields[0]] = fields[1].lower()
    return genders


def _read_part(
    part: Path, wav: dict[str, str], text: dict[str, str | None] | None, report: Report
) -> None:
    """Add a part's audio files and transcripts; walks in sorted order."""
    for path in progress(files_below(part), f"files of {part.name}"):
        if path.suffix.lower() == ".flac":
            _add_audio(path, wav, report)
        elif path.suffix.lower() in NOT_FLAC:
            report.leave_out("not FLAC", path.stem, path, "LibriSpeech's recordings are .flac")
        elif path.name.lower().endswith(".trans.txt") and text is not None:
            read_transcripts(path, text, report)


def _add_audio(path: Path, wav: dict[str, str], report: Report) -> None:
    found, problem = _UTTERANCE.fullmatch(path.stem), path_problem(path)
    if problem:
        report.leave_out("bad path", path.stem, repr(os.fspath(path)), problem)
    elif not found or (path.parent.parent.name, path.parent.name) != found.groups():
        report.leave_out("misplaced file", path.stem, path, "SPEAKER/CHAPTER/*.flac expected")
    elif path.stem in wav:
        report.leave_out("duplicate id", path.stem, path, f"{wav[path.stem]} is used")
    else:
        wav[path.stem] = str(path)


def unlisted_speakers(data: DataDir, genders: dict[str, str]) -> str:
    """A warning if SPEAKERS.TXT lacks speakers of the data, else an empty string."""
    missing = sorted(set(data.utt2spk.values()) - genders.keys())
    if not genders or not missing:
        return ""
    return f"SPEAKERS.TXT does not list {len(missing)} speakers: {show_ids(missing)}"
