"""Reading a data directory that may be wrong: sound utterances are kept, the others reported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechlm.data.kaldi_dir import DataDir, check_path, translation_files
from speechlm.data.names import id_problem
from speechlm.data.report import Report, tidy_lines
from speechlm.data.segments import SEGMENTS, Segment, SegmentError

REPORT = "report.tsv"
"""Name of the report inside a data directory."""

_TRANSCRIPT = re.compile(r"[A-Z'][A-Z' ]*")


def read_and_check(path: str | os.PathLike[str]) -> tuple[DataDir, Report]:
    """Read a data directory, leaving out and reporting what is wrong with ids and transcripts.

    Left out: duplicate ids with different values, ids without audio, speaker or transcript (if
    there is a `text`), transcripts without audio, empty transcripts, characters other than A-Z,
    apostrophe and space, speakers that are no prefix of the id. Put right: order, repeated
    lines, blank lines, CR LF, byte order marks, lower case. A report that an earlier stage left
    in the directory is continued. Where there are translations (text.LANG), transcripts may be of
    any language and are not changed; empty or absent translations are left out.

    With a table `segments`, utterances are parts of recordings. Left out: lines that are no
    segment, segments of recordings that wav.scp lacks or has twice, and ids without a segment.
    Whether a segment lies in its recording is seen where the audio is read.

    Raises:
        ValueError: wav.scp or utt2spk is not there.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ValueError(f"data directory expected, but {folder} is not there")
    report = Report.read(folder / REPORT)
    n_known = len(report.items)
    wav = _read_table(folder / "wav.scp", report)
    twice = Report(report.items[n_known:]).ids_left_out()
    utt2spk = _read_table(folder / "utt2spk", report)
    file = folder / "text"
    text = _read_table(file, report, empty=True) if file.is_file() else None
    translations = {
        language: _read_table(file, report, empty=True)
        for language, file in translation_files(folder).items()
    }
    segments: dict[str, Segment] = {}
    if (folder / SEGMENTS).is_file():
        tables = [utt2spk, *translations.values(), *([] if text is None else [text])]
        recordings = {name: path for name, path in wav.items() if name not in twice}
        wav, segments = _read_segments(folder / SEGMENTS, recordings, tables, report)
    source = folder / (SEGMENTS if (folder / SEGMENTS).is_file() else "wav.scp")
    _check_ids(source, wav, utt2spk, report)
    _check_texts(folder, wav, text, translations, report)
    bad = Report(report.items[n_known:]).ids_left_out()
    kept = sorted(wav.keys() - bad)
    data = DataDir(
        {u: wav[u] for u in kept},
        {u: utt2spk[u] for u in kept},
        None if text is None else {u: text[u] for u in kept},
        translations={n: {u: table[u] for u in kept} for n, table in translations.items()},
        segments={u: segments[u] for u in kept if u in segments},
    )
    return data, report


def transcript_problem(transcript: str) -> tuple[str, str] | None:
    """(kind, detail) of what is wrong with an upper-case transcript, None if nothing is."""
    if not transcript:
        return "empty transcript", ""
    if _TRANSCRIPT.fullmatch(transcript):
        if all(word.strip("'") for word in transcript.split()):
            return None
        return "non-speech characters", "an apostrophe stands alone"
    odd = sorted(set(re.sub(r"[A-Z' ]", "", transcript)))
    shown = " ".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in odd[:10])
    return "non-speech characters", f"{shown} (only A-Z, ' and space are)"


def _read_table(path: Path, report: Report, empty: bool = False) -> dict[str, str]:
    """As kaldi_dir.read_table, but reports instead of stopping."""
    if not path.is_file():
        raise ValueError(f"{path} expected, but it is not there")
    table: dict[str, str] = {}
    last, n_unsorted = "", 0
    for number, key, value in _lines(path, report):
        if key in table:
            if table[key] == value:
                report.fix("repeated line", key, path, f"line {number}")
            else:
                report.leave_out("duplicate id", key, path, f"line {number} has another value")
            continue
        if not value and not empty:
            report.leave_out("id without a value", key, path, f"line {number}")
        n_unsorted += key < last
        table[key], last = value, key
    if n_unsorted:
        report.sort("table", path, f"{n_unsorted} lines were out of order")
    return table


def _read_segments(
    path: Path, recordings: dict[str, str], tables: Sequence[dict[str, str]], report: Report
) -> tuple[dict[str, str], dict[str, Segment]]:
    """Paths and segments by utterance; ids that have no segment are taken out of the tables.

    An utterance whose segment is wrong keeps its place, with no path, so that what else is wrong
    with it is told as well.
    """
    wav: dict[str, str] = {}
    segments: dict[str, Segment] = {}
    used = set()
    for utterance, value in _read_table(path, report).items():
        wav[utterance] = ""
        try:
            segment = Segment.parse(value)
        except SegmentError as error:
            if value:  # else it is reported already
                report.leave_out(error.kind, utterance, path, error.detail)
            continue
        if segment.recording not in recordings:
            why = f"{segment.recording} is not in wav.scp, or is wrong there"
            report.leave_out("segment without a recording", utterance, path, why)
            continue
        used.add(segment.recording)
        wav[utterance] = recordings[segment.recording]
        if segment != Segment(utterance):  # else a whole file
            segments[utterance] = segment
    for utterance in sorted(set().union(*tables) - wav.keys()):
        report.leave_out("no segment", utterance, path, "it is in other tables")
        for table in tables:
            table.pop(utterance, None)
    for name in sorted(recordings.keys() - used):
        report.note("recording without segments", name, recordings[name], "not used")
    return wav, segments


def _lines(path: Path, report: Report) -> Iterator[tuple[int, str, str]]:
    """(line number, id, value) of every line."""
    for number, line in tidy_lines(path, report, _first_word):
        key, *value = line.split(maxsplit=1)
        yield number, key, "".join(value).strip()


def _first_word(number: int, raw: bytes) -> str:
    return raw.split(maxsplit=1)[0].decode("utf-8", errors="replace")


def _check_ids(source: Path, wav: dict[str, str], utt2spk: dict[str, str], report: Report) -> None:
    """Checks ids and speakers; `source` is the table that says which utterances there are."""
    folder = source.parent
    for utterance, value in wav.items():
        check_path(value, f"{folder / 'wav.scp'}, {utterance}")
        problem = id_problem(utterance)
        if problem:
            report.leave_out("bad id", utterance, source, problem)
        elif utterance not in utt2spk:
            report.leave_out("no speaker", utterance, folder / "utt2spk")
        elif not utterance.startswith(utt2spk[utterance]):
            detail = f"speaker {utt2spk[utterance]} is no prefix of the id"
            report.leave_out("speaker not a prefix", utterance, folder / "utt2spk", detail)
    for utterance in sorted(utt2spk.keys() - wav.keys()):
        report.leave_out("speaker without audio", utterance, folder / "utt2spk")


def _check_texts(
    folder: Path,
    wav: dict[str, str],
    text: dict[str, str] | None,
    translations: dict[str, dict[str, str]],
    report: Report,
) -> None:
    """Checks transcripts and translations; what is translated may be of any language."""
    if text is not None and not translations:
        _check_transcripts(folder / "text", wav, text, report)
    elif text is not None:
        _check_sentences("transcript", folder / "text", wav, text, report)
    for language, table in translations.items():
        _check_sentences("translation", folder / f"text.{language}", wav, table, report)


def _check_transcripts(
    path: Path, wav: dict[str, str], text: dict[str, str], report: Report
) -> None:
    """Checks transcripts; lower case becomes upper case in place."""
    for utterance in sorted(wav.keys() - text.keys()):
        report.leave_out("no transcript", utterance, path)
    for utterance in sorted(text):
        if utterance not in wav:
            report.leave_out("transcript without audio", utterance, path, text[utterance][:60])
            continue
        plain = " ".join(text[utterance].split())
        if plain.upper() != plain:
            plain = plain.upper()
            report.fix("lower case", utterance, path)
        text[utterance] = plain
        problem = transcript_problem(plain)
        if problem:
            report.leave_out(problem[0], utterance, path, problem[1])


def _check_sentences(
    what: str, path: Path, wav: dict[str, str], table: dict[str, str], report: Report
) -> None:
    """Checks that every utterance has a sentence, of whatever characters."""
    for utterance in sorted(wav.keys() - table.keys()):
        report.leave_out(f"no {what}", utterance, path)
    for utterance in sorted(table):
        # other programs take a carriage return for the end of the line
        table[utterance] = " ".join(table[utterance].split())
        if utterance not in wav:
            report.leave_out(f"{what} without audio", utterance, path, table[utterance][:60])
        elif not table[utterance]:
            report.leave_out(f"empty {what}", utterance, path)
