"""The simplest layout of a corpus: PART/SPEAKER-NAME.wav with their transcripts in PART/text.

Lines of the table are `SPEAKER-NAME WORDS`. The file name is the utterance id, so that the speaker
is its prefix; names with blanks and the like are escaped in ids (`names.safe_id`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from speechlm.data.audio import OTHER_SUFFIXES, SUFFIXES
from speechlm.data.folders import part_folders
from speechlm.data.kaldi_dir import DataDir, show_ids
from speechlm.data.language import LANGUAGE, Language
from speechlm.data.language_text import to_words, why_left_out
from speechlm.data.names import path_problem, safe_id, spaced, speaker_of, visible
from speechlm.data.report import Refused, Report
from speechlm.data.transcripts import match_transcripts, read_transcripts, unmatched

TABLE = "text"
"""File of a part that has the transcripts."""


def read_recordings(
    corpus: str | os.PathLike[str],
    parts: Sequence[str],
    with_text: bool = True,
    language: Language = LANGUAGE,
) -> tuple[DataDir, Report]:
    """Read folders of recordings into one data directory, without opening the audio.

    English transcripts are brought to A-Z and apostrophes; numbers and abbreviations are spoken
    out. Those of other languages are brought to small letters (`language_text`).

    Args:
        corpus: folder that has the parts.
        parts: names of folders, each with recordings and, where wanted, a table `text`.
        with_text: whether transcripts are wanted; without them speech alone is read.
        language: of the transcripts.

    Returns:
        The data, and what was left out: recordings without transcript, transcripts without
        recording, transcripts with letters of other scripts, duplicates.

    Raises:
        ValueError: The corpus, a part or its table is not there.
        Refused: Nothing can be used.
    """
    report = Report()
    wav: dict[str, str] = {}
    text: dict[str, str | None] = {}
    long_names: dict[str, str] = {}
    transcripts = None
    folders = part_folders(corpus, parts, "a folder with the parts of a corpus")
    for folder in folders:
        _add_recordings(folder, wav, long_names, report)
        if with_text:
            read_transcripts(_table(folder), text, report, long_names)
    where = " ".join(map(str, folders))
    if not wav:
        found = f"; found: {report.summary()}" if report.items else ""
        raise Refused(
            f"no recordings in {where}: files like SPEAKER-NAME.wav expected"
            f" ({', '.join(SUFFIXES)}){found}",
            report,
        )
    if with_text:
        transcripts = _normalize(wav, match_transcripts(wav, text, report), language, report)
        if not wav:
            raise Refused(
                f"no recording in {where} has a transcript. {report.summary()}."
                f" {unmatched(report)}",
                report,
            )
    utt2spk = {utterance: speaker_of(utterance) for utterance in wav}
    return DataDir(wav, utt2spk, transcripts), report


def lone_names(data: DataDir) -> str:
    """Return a warning if recordings have names without a speaker, else an empty string."""
    lone = [utterance for utterance in data.ids if "-" not in utterance]
    if not lone:
        return ""
    return (
        f"{len(lone)} of {len(data)} recordings have names without SPEAKER- and count as speakers"
        f" of their own: {show_ids(lone)}"
    )


def _table(folder: Path) -> Path:
    table = folder / TABLE
    if not table.is_file():
        raise ValueError(
            f"transcripts expected in {table}, which is not there: on each line the name of a"
            " recording without its ending, and its words"
        )
    return table


def _add_recordings(
    folder: Path, wav: dict[str, str], long_names: dict[str, str], report: Report
) -> None:
    """Add a part's recordings, by id, and the ids of names with blanks for `read_transcripts`."""
    for path in visible(folder.iterdir()):
        if path.name == TABLE or path.is_dir():
            continue
        if path.suffix.lower() in OTHER_SUFFIXES:
            detail = f"one of {' '.join(SUFFIXES)} expected: convert it"
            report.leave_out("other audio format", safe_id(path.stem), path, detail)
            continue
        if path.suffix.lower() not in SUFFIXES:
            report.note("no recording", path.name, path, f"one of {' '.join(SUFFIXES)} expected")
            continue
        utterance, problem = safe_id(path.stem), path_problem(path)
        if problem:
            report.leave_out("bad path", utterance, repr(os.fspath(path)), problem)
        elif utterance in wav:
            report.leave_out("duplicate id", utterance, path, f"{wav[utterance]} is used")
        else:
            wav[utterance] = str(path)
            if utterance != path.stem:
                report.fix("name that is no id", utterance, path, f"the name is {path.stem!r}")
            if path.stem.split() != [path.stem]:
                long_names[spaced(path.stem)] = utterance


def _normalize(
    wav: dict[str, str], text: dict[str, str], language: Language, report: Report
) -> dict[str, str]:
    """Transcripts in the language's letters; where that cannot be, the recording goes, too."""
    normalized = {}
    for utterance, given in text.items():
        words = to_words(given, language)
        why = why_left_out(words, language) if words else "empty transcript"
        if not why:
            normalized[utterance] = words
        else:
            report.leave_out(why, utterance, wav.pop(utterance), given[:60])
    return normalized
