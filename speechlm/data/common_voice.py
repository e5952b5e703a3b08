"""Releases of Common Voice: a folder a language with clips/ and TSV files of sentences."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speechlm.data.audio import SUFFIXES
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.language import chosen as chosen_language
from speechlm.data.language_text import to_words as spoken_words
from speechlm.data.language_text import why_left_out
from speechlm.data.markup import resolve
from speechlm.data.names import checksum, is_hidden, path_problem, safe_id
from speechlm.data.report import Refused, Report
from speechlm.data.text_normalize import expand, to_words
from speechlm.data.tsv import Row, read_tsv
from speechlm.data.unspoken import reason
from speechlm.data.written import (
    ZERO_WIDTH,
    normal_apostrophes,
    single_quotes,
    upper,
    without_symbols,
    words_of,
)

VALIDATED = "validated.tsv"
COLUMNS = ("path", "sentence", "client_id")
_SPEAKER = (20, 60)  # characters of a client_id (128 hexadecimal digits) that name the speaker
_CLIP = 99  # bytes of a clip's name in an id, behind the speaker's


@dataclass
class Clip:
    """A clip's texts and speaker."""

    name: str
    """Of its file, as the table has it: early releases leave the ending out."""
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
        unwanted: clips that must not be used, such as those of tests (`excluded.recordings`).

    Returns:
        The data directory, and a report of the clips that were wrong and left out.

    Raises:
        ValueError: folder, table or columns are missing.
        Refused: nothing can be used.
    """
    folder = clips_folder(release)
    report = Report()
    path = Path(release) / table
    clips = {}
    rows = sentence_rows(path, report)
    for clip, row in rows.items():
        values = row.values
        if clip_id(clip).casefold() in unwanted:
            report.filter("excluded", clip_id(clip), path, f"line {row.number}")
        elif is_sound(clip, row, path, report):
            sentence, client = tidy(values["sentence"]), values["client_id"].strip()
            clips[clip] = Clip(values["path"], sentence, client)
    if unwanted and not report.counts().get(("filtered", "excluded")):
        log = (
            "none of the %d names of recordings to exclude is among the %d clips of %s; if some"
            " should be, compare how both are written"
        )
        logging.warning(log, len(unwanted), len(rows), path)
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


def clip_of(name: str) -> str:
    """A clip's name without the ending of an audio file, if it has one."""
    stem, suffix = os.path.splitext(unicodedata.normalize("NFC", name))
    return stem if suffix.lower() in SUFFIXES else stem + suffix


def clip_id(clip: str) -> str:
    """What stands for a clip in ids (behind the speaker) and in reports."""
    return safe_id(Path(clip).name or "-", _CLIP)


def sentence_rows(path: Path, report: Report) -> dict[str, Row]:
    """Rows of a release's table by clip (`clip_of`)."""
    rows = read_tsv(path, COLUMNS, report)
    return unique_rows([unquoted(row, "sentence", path, report) for row in rows], path, report)


def unique_rows(rows: Sequence[Row], path: Path, report: Report) -> dict[str, Row]:
    """Rows by clip (`clip_of`); a clip with two different rows is left out."""
    found: dict[str, Row] = {}
    double: set[str] = set()
    for row in rows:
        clip = clip_of(row.values["path"])
        if clip not in found:
            found[clip] = row
        elif {**found[clip].values, "path": clip} == {**row.values, "path": clip}:
            report.fix("repeated line", row.values["path"], path, f"line {row.number}")
        else:
            lines = f"lines {found[clip].number} and {row.number} differ"
            report.leave_out("duplicate clip", clip_id(clip), path, lines)
            double.add(clip)
    return {clip: row for clip, row in found.items() if clip not in double}


def is_sound(clip: str, row: Row, path: Path, report: Report) -> bool:
    """Whether a row's clip name and speaker can be used; reports it if not."""
    where = f"line {row.number}"
    if not clip or Path(clip).name != clip or is_hidden(clip):
        report.leave_out("bad clip name", clip_id(clip), path, f"{where}: {clip[:60]!r}")
    elif not row.values["client_id"].strip():
        report.leave_out("no client_id", clip_id(clip), path, where)
    else:
        return True
    return False


def plain_transcript(sentence: str, language: str) -> str:
    """A sentence whose translation is what counts, as words: upper case, no punctuation, no markup.

    English becomes A-Z and apostrophes, numbers and abbreviations are spoken out, as in
    LibriSpeech. Of other languages letters, marks, digits and apostrophes are kept, joiners of zero
    width inside words, too. What cannot be spoken becomes a mark of `unspoken`.
    """
    if language == "en":
        return to_words(expand(sentence))
    text = without_symbols(normal_apostrophes(resolve(sentence)))
    text = normal_apostrophes(unicodedata.normalize("NFKC", text))
    return words_of(upper(text, language), ZERO_WIDTH, letters="'")


def tidy(sentence: str) -> str:
    """NFC, single spaces."""
    return " ".join(unicodedata.normalize("NFC", sentence).split())


def data_dir(
    clips: Mapping[str, Clip], folder: Path, language: str, targets: Sequence[str], report: Report
) -> DataDir:
    """The clips whose files are there and that have a transcript and all translations.

    Args:
        clips: by name without ending (`clip_of`).
        folder: of the audio files. A file of another ending than the table says is taken, too.
        language: code of the transcripts' language.
        targets: codes of the translations' languages.
        report: takes what is left out.

    Raises:
        Refused: there is none.
    """
    files = _files_by_clip(folder)
    chosen: dict[str, tuple[str, str]] = {}
    for clip, known in clips.items():
        missing = [target for target in targets if target not in known.translations]
        if missing:
            report.leave_out("no translation", clip_id(clip), folder, f"into {' '.join(missing)}")
            continue
        name = _file_of(known.name, files.get(clip, []), folder, report)
        if name is not None:
            transcript, why = _transcript(known.sentence, language, bool(targets))
            where = folder / name
            if not transcript:
                report.leave_out("empty transcript", clip_id(clip), where, known.sentence[:60])
            elif why:
                report.leave_out(why, clip_id(clip), where, known.sentence[:60])
            else:
                chosen[clip] = str(where), transcript
    if not chosen:
        raise Refused(f"no clip of {folder} can be used. {report.summary()}", report)
    speakers = short_names([clips[clip].client for clip in chosen])
    ids = _ids_of({clip: path for clip, (path, _) in chosen.items()}, clips, speakers, report)
    return DataDir(
        {utterance: chosen[clip][0] for clip, utterance in ids.items()},
        {utterance: speakers[clips[clip].client] for clip, utterance in ids.items()},
        {utterance: chosen[clip][1] for clip, utterance in ids.items()},
        translations={
            target: {u: clips[clip].translations[target] for clip, u in ids.items()}
            for target in targets
        },
    )


def _transcript(sentence: str, language: str, translated: bool) -> tuple[str, str]:
    """Words of a sentence, and why they cannot be used, if they cannot.

    Where there are translations, words are only shown: they may have digits and any letters.
    """
    if translated and language != "en":
        words = plain_transcript(sentence, language)
        return words, reason(words)
    spoken = chosen_language(language)
    words = spoken_words(sentence, spoken)
    return words, why_left_out(words, spoken)


def _ids_of(
    paths: Mapping[str, str], clips: Mapping[str, Clip], speakers: Mapping[str, str], report: Report
) -> dict[str, str]:
    """Utterance ids by clip, SPEAKER-CLIP; a clip whose id another one has is left out."""
    ids: dict[str, str] = {}
    taken: dict[str, str] = {}
    for clip, path in paths.items():
        utterance = f"{speakers[clips[clip].client]}-{clip_id(clip)}"
        if utterance in taken:
            report.leave_out("duplicate id", clip, path, f"{taken[utterance]} has {utterance}")
            continue
        ids[clip], taken[utterance] = utterance, path
        if clip_id(clip) != clip:
            report.fix("name that is no id", utterance, path, f"the name is {clip!r}")
    return ids


def _files_by_clip(folder: Path) -> dict[str, list[str]]:
    """Names of audio files by clip, the endings in the order of SUFFIXES."""
    files: dict[str, list[str]] = {}
    for entry in os.scandir(folder):
        ending = os.path.splitext(entry.name)[1].lower()
        if ending in SUFFIXES and not is_hidden(entry.name):
            files.setdefault(clip_of(entry.name), []).append(entry.name)
    for names in files.values():
        names.sort(key=lambda name: (SUFFIXES.index(os.path.splitext(name)[1].lower()), name))
    return files


def _file_of(name: str, files: Sequence[str], folder: Path, report: Report) -> str | None:
    """The file of a clip that the table calls `name`, None if it cannot be used; reports that."""
    clip = clip_of(name)
    if not files:
        kind = "wrong extension" if (folder / name).is_file() else "missing clip"
        expected = f"{clip}{SUFFIXES[0]} expected, or with {', '.join(SUFFIXES[1:])}"
        report.leave_out(kind, clip_id(clip), folder / name, expected)
        return None
    found = name if name in files else files[0]
    problem = path_problem(folder / found)
    if problem:
        report.leave_out("bad path", clip_id(clip), repr(os.fspath(folder / found)), problem)
        return None
    endings = [os.path.splitext(each)[1].lower() for each in (name, found)]
    if endings[0] in SUFFIXES and endings[0] != endings[1]:
        report.fix("another extension", clip_id(clip), folder / name, f"{found} is there")
    return found


def short_names(clients: Sequence[str]) -> dict[str, str]:
    """A speaker id for each client_id: as many of its first characters as tell them apart.

    What is no letter of English or digit becomes `_`. Where that leaves two alike, all have
    checksums.
    """
    clean = {
        client: "".join(c if c.isascii() and c.isalnum() else "_" for c in client)
        for client in set(clients)
    }
    for length in _SPEAKER:
        names = {client: name[:length] for client, name in clean.items()}
        if len(set(names.values())) == len(names):
            return names
    return {client: f"{name[:20]}_{checksum(client)}" for client, name in clean.items()}


def unquoted(row: Row, column: str, path: Path, report: Report) -> Row:
    """A row whose text has single quotes, see `single_quotes`; reports it if that was mended."""
    text = single_quotes(row.values[column])
    if text == row.values[column]:
        return row
    report.fix("doubled quotes", row.values["path"], path, f"line {row.number}")
    return Row(row.number, {**row.values, column: text})
