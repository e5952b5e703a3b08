"""Releases of Common Voice: a folder a language with clips/ and TSV files of sentences."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speechlm.data.audio import SUFFIXES
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.markup import resolve
from speechlm.data.report import Report
from speechlm.data.text_normalize import expand, to_words, why_not
from speechlm.data.tsv import Row, read_tsv
from speechlm.data.unspoken import reason
from speechlm.data.written import ZERO_WIDTH, normal_apostrophes, single_quotes, upper, words_of

VALIDATED = "validated.tsv"
COLUMNS = ("path", "sentence", "client_id")
_SPEAKER = 20  # characters of a client_id (128 hexadecimal digits) that name the speaker


@dataclass
class Clip:
    """A clip's texts and speaker."""

    sentence: str
    client: str
    translations: dict[str, str] = field(default_factory=dict)


def read_common_voice(
    release: str | os.PathLike[str],
    table: str,
    language: str,
    with_text: bool = True,
    unwanted: Collection[str] = (),
) -> tuple[DataDir, Report]:
    """Read the clips of one table of a release into a data directory, without opening the audio.

    Args:
        release: folder of a language: clips/ and its tables.
        table: name of the table, such as validated.tsv or train.tsv.
        language: language code, for the transcripts (see `plain_transcript`).
        with_text: whether transcripts are wanted; without them speech alone is read.
        unwanted: names of clips that must not be used, without extensions (such as those of tests).

    Returns:
        The data directory, and a report of the clips that were wrong and left out.

    Raises:
        ValueError: folder, table or columns are missing, or nothing can be used.
    """
    folder = clips_folder(release)
    report = Report()
    path = Path(release) / table
    clips = {}
    for clip, row in sentence_rows(path, report).items():
        if Path(clip).stem in unwanted:
            report.filter("excluded", Path(clip).stem, path, f"line {row.number}")
        elif is_sound(clip, row, path, report):
            clips[clip] = Clip(tidy(row.values["sentence"]), row.values["client_id"].strip())
    data = data_dir(clips, folder, language, (), report)
    if not with_text:
        data.text = None
    return data, report


def clips_folder(release: str | os.PathLike[str]) -> Path:
    """clips/ of a release.

    Raises:
        ValueError: it is not there.
    """
    folder = Path(release) / "clips"
    if not folder.is_dir():
        raise ValueError(f"Common Voice's folder of a language expected: {release} has no clips/")
    return folder


def sentence_rows(path: Path, report: Report) -> dict[str, Row]:
    """Rows by clip of a release's table."""
    rows = read_tsv(path, COLUMNS, report)
    return unique_rows([unquoted(row, "sentence", path, report) for row in rows], path, report)


def unique_rows(rows: Sequence[Row], path: Path, report: Report) -> dict[str, Row]:
    """Rows by clip; a clip with two different rows is left out."""
    found: dict[str, Row] = {}
    double: set[str] = set()
    for row in rows:
        clip = row.values["path"]
        if clip not in found:
            found[clip] = row
        elif found[clip].values == row.values:
            report.fix("repeated line", clip, path, f"line {row.number}")
        else:
            lines = f"lines {found[clip].number} and {row.number} differ"
            report.leave_out("duplicate clip", Path(clip).stem or "-", path, lines)
            double.add(clip)
    return {clip: row for clip, row in found.items() if clip not in double}


def is_sound(clip: str, row: Row, path: Path, report: Report) -> bool:
    """Whether a row's clip name and speaker can be used; reports it if not."""
    stem, where = Path(clip).stem or "-", f"line {row.number}"
    if Path(clip).name != clip or not Path(clip).stem or clip.startswith("."):
        report.leave_out("bad clip name", stem, path, f"{where}: {clip[:60]!r}")
    elif Path(clip).suffix.lower() not in SUFFIXES:
        report.leave_out("wrong extension", stem, path, f"{where}: {clip}")
    elif not row.values["client_id"].strip():
        report.leave_out("no client_id", stem, path, where)
    else:
        return True
    return False


def plain_transcript(sentence: str, language: str) -> str:
    """A sentence as spoken words: upper case, no punctuation, no markup.

    English becomes A-Z and apostrophes, numbers and abbreviations are spoken out, as in
    LibriSpeech. Of other languages letters, marks, digits and apostrophes are kept, joiners of zero
    width inside words, too. What cannot be spoken becomes a mark of `unspoken`.
    """
    if language == "en":
        return to_words(expand(sentence))
    text = normal_apostrophes(unicodedata.normalize("NFKC", resolve(sentence)))
    return words_of(upper(text, language), ZERO_WIDTH, letters="'")


def tidy(sentence: str) -> str:
    """NFC, single spaces."""
    return " ".join(unicodedata.normalize("NFC", sentence).split())


def data_dir(
    clips: Mapping[str, Clip], folder: Path, language: str, targets: Sequence[str], report: Report
) -> DataDir:
    """The clips whose files are there and that have a transcript and all translations.

    Raises:
        ValueError: there is none.
    """
    there = {entry.name for entry in os.scandir(folder)}
    by_stem = {Path(name).stem: name for name in there}
    chosen: dict[str, str] = {}
    for clip, known in clips.items():
        stem = Path(clip).stem
        missing = [target for target in targets if target not in known.translations]
        if missing:
            report.leave_out("no translation", stem, folder, f"into {' '.join(missing)}")
        elif clip not in there and stem in by_stem:
            report.leave_out("wrong extension", stem, folder / clip, f"{by_stem[stem]} is there")
        elif clip not in there:
            report.leave_out("missing clip", stem, folder / clip)
        else:
            transcript = plain_transcript(known.sentence, language)
            if not transcript:
                report.leave_out("empty transcript", stem, folder / clip, known.sentence[:60])
            elif why := why_not(transcript) if language == "en" else reason(transcript):
                report.leave_out(why, stem, folder / clip, known.sentence[:60])
            else:
                chosen[clip] = transcript
    if not chosen:
        raise ValueError(f"no clip of {folder} can be used. {report.summary()}")
    speakers = short_names([clips[clip].client for clip in chosen])
    ids = {clip: f"{speakers[clips[clip].client]}-{Path(clip).stem}" for clip in chosen}
    if len(set(ids.values())) != len(ids):
        raise ValueError(f"{folder}: two clips of a speaker differ in their extensions only")
    return DataDir(
        {ids[clip]: str(folder / clip) for clip in chosen},
        {ids[clip]: speakers[clips[clip].client] for clip in chosen},
        {ids[clip]: transcript for clip, transcript in chosen.items()},
        translations={
            target: {ids[clip]: clips[clip].translations[target] for clip in chosen}
            for target in targets
        },
    )


def short_names(clients: Sequence[str]) -> dict[str, str]:
    """A speaker id for each client_id: its first characters, or all if these are ambiguous."""
    clean = {c: "".join(x if x.isalnum() or x == "_" else "_" for x in c) for c in set(clients)}
    for length in (_SPEAKER, None):
        names = {client: name[:length] for client, name in clean.items()}
        if len(set(names.values())) == len(names):
            return names
    raise ValueError("two client_ids differ only in characters that are no letters or digits")


def unquoted(row: Row, column: str, path: Path, report: Report) -> Row:
    """A row whose text has single quotes, see `single_quotes`; reports it if that was mended."""
    text = single_quotes(row.values[column])
    if text == row.values[column]:
        return row
    report.fix("doubled quotes", row.values["path"], path, f"line {row.number}")
    return Row(row.number, {**row.values, column: text})
