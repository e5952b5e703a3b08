"""Common Voice clips with CoVoST 2 translations.

Published forms of the translations (github.com/facebookresearch/covost):

    covost_v2.SRC_TGT.tsv        path translation split; sentence and speaker of a clip come from
                                 Common Voice's validated.tsv
    covost_v2.SRC_TGT.PART.tsv   path sentence translation client_id; made of the above by CoVoST's
                                 instructions: rows that both files have; `train` is split `train`
                                 and `train_covost`, `dev` and `test` are the splits of that name
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report
from speechlm.data.text_normalize import expand, to_words
from speechlm.data.tsv import Row, read_tsv

PARTS = {"train": ("train", "train_covost"), "dev": ("dev",), "test": ("test",)}
"""The values of the column `split` that make each part."""
AUDIO = (".mp3", ".flac", ".wav", ".ogg", ".opus")
"""Extensions of clips; Common Voice has the first."""
VALIDATED = "validated.tsv"
_SPEAKER = 20  # characters of a client_id (128 hexadecimal digits) that name the speaker


@dataclass(frozen=True)
class Direction:
    """What is translated into what."""

    source: str
    """Language code of the speech, as in the names of the files: en, de, zh-CN."""
    targets: Sequence[str]
    """Language codes of the translations; only clips that have all of them are used."""

    def __post_init__(self) -> None:
        codes = [self.source, *self.targets]
        if not self.targets or len(set(codes)) != len(codes):
            raise ValueError(f"different source and target languages expected, got {codes}")


@dataclass
class _Clip:
    sentence: str
    client: str
    translations: dict[str, str]


def read_covost(
    common_voice: str | os.PathLike[str],
    translations: str | os.PathLike[str],
    direction: Direction,
    part: str,
) -> tuple[DataDir, Report]:
    """Read one part into a data directory, without opening the audio.

    Args:
        common_voice: folder of a language of a release: clips/ and validated.tsv (which is needed
            for the form of three columns only).
        translations: folder of CoVoST's TSV files, of either form; or, for a single target, a TSV
            file of either form.
        direction: the languages.
        part: train, dev or test. A file of four columns is taken whole.

    Rows that are wrong, translations without a clip, duplicates and empty texts are left out and
    reported. `text` is the transcript in upper case without punctuation; `text.LANG` are the
    translations, cased, with punctuation.

    Raises:
        ValueError: files or columns are missing, or nothing can be used.
    """
    if part not in PARTS:
        raise ValueError(f"a part of {' '.join(PARTS)} expected, got {part}")
    release = Path(common_voice)
    if not (release / "clips").is_dir():
        raise ValueError(f"Common Voice's folder of a language expected: {release} has no clips/")
    report = Report()
    clips: dict[str, _Clip] = {}
    validated: dict[str, Row] | None = None
    for index, target in enumerate(direction.targets):
        path = find_tsv(translations, direction, target, part)
        rows = _unique(read_tsv(path, ("path", "translation"), report), path, report)
        if rows and "split" in next(iter(rows.values())).values:
            rows = {c: r for c, r in rows.items() if r.values["split"] in PARTS[part]}
        if any("sentence" not in row.values for row in rows.values()):
            if validated is None:
                validated = _read_validated(release / VALIDATED, report)
            rows = _with_sentences(rows, validated, path, report)
        _check_columns(rows, path)
        _add(clips, rows, target, path, first=index == 0, report=report)
    return _data_dir(clips, release / "clips", direction, report), report


def find_tsv(
    translations: str | os.PathLike[str], direction: Direction, target: str, part: str
) -> Path:
    """The file of a part in one direction; the split form is preferred."""
    folder = Path(translations)
    if folder.is_file() and len(direction.targets) == 1:
        return folder
    if not folder.is_dir():
        raise ValueError(f"a folder of CoVoST's TSV files expected, but {folder} is none")
    stem = f"covost_v2.{direction.source}_{target}"
    for name in (f"{stem}.{part}.tsv", f"{stem}.tsv"):
        if (folder / name).is_file():
            return folder / name
    packed = folder / f"{stem}.tsv.tar.gz"
    if packed.is_file():
        raise ValueError(f"{packed} is still packed; unpack it: tar -C {folder} -xzf {packed}")
    names = sorted(path.name for path in folder.glob("covost_v2.*.tsv"))
    directions = sorted({name.split(".")[1] for name in names})
    raise ValueError(
        f"{folder}: no translations of {direction.source} into {target}, part {part} ({stem}.tsv"
        f" or {stem}.{part}.tsv expected); directions that are there: "
        f"{' '.join(directions) or 'none'}; files: {' '.join(names[:8]) or 'none'}"
    )


def plain_transcript(sentence: str, language: str) -> str:
    """A sentence as spoken words: upper case, no punctuation.

    English becomes A-Z and apostrophes, numbers and abbreviations are spoken out, as in
    LibriSpeech. Of other languages letters, marks, digits and apostrophes are kept.
    """
    if language == "en":
        return to_words(expand(sentence))
    text = unicodedata.normalize("NFKC", sentence).replace("’", "'").upper()
    kept = "".join(c if c == "'" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return " ".join(word for word in kept.split() if word.strip("'"))


def tidy(sentence: str) -> str:
    """NFC, single spaces."""
    return " ".join(unicodedata.normalize("NFC", sentence).split())


def _unique(rows: Sequence[Row], path: Path, report: Report) -> dict[str, Row]:
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


def _read_validated(path: Path, report: Report) -> dict[str, Row]:
    if not path.is_file():
        raise ValueError(
            f"{path} expected, but it is not there: translations in the form `path translation"
            " split` take their sentences from it"
        )
    rows = read_tsv(path, ("path", "sentence", "client_id"), report)
    return _unique([_unquoted(row, path, report) for row in rows], path, report)


def _unquoted(row: Row, path: Path, report: Report) -> Row:
    """Undo the quoting of some releases: "He said ""no""." in the place of He said "no"."""
    sentence = row.values["sentence"]
    inner = sentence[1:-1]
    quoted = len(sentence) > 1 and sentence[0] == sentence[-1] == '"' and '""' in inner
    if not quoted or '"' in inner.replace('""', ""):
        return row
    report.fix("doubled quotes", row.values["path"], path, f"line {row.number}")
    return Row(row.number, {**row.values, "sentence": inner.replace('""', '"')})


def _with_sentences(
    rows: Mapping[str, Row], validated: Mapping[str, Row], path: Path, report: Report
) -> dict[str, Row]:
    """Rows that validated.tsv has as well, with its sentence and client_id."""
    joined = {}
    for clip, row in rows.items():
        if clip not in validated:
            detail = f"line {row.number}: not in {VALIDATED}"
            report.leave_out("not a validated clip", Path(clip).stem or "-", path, detail)
            continue
        known = validated[clip].values
        more = {name: known[name] for name in ("sentence", "client_id")}
        joined[clip] = Row(row.number, {**row.values, **more})
    return joined


def _check_columns(rows: Mapping[str, Row], path: Path) -> None:
    if rows and "client_id" not in next(iter(rows.values())).values:
        raise ValueError(f"{path} has a column `sentence`, but no column `client_id`")


def _add(
    clips: dict[str, _Clip],
    rows: Mapping[str, Row],
    target: str,
    path: Path,
    first: bool,
    report: Report,
) -> None:
    """Add a direction's rows; of further directions only clips that the first has are kept."""
    for clip, row in rows.items():
        values, stem = row.values, Path(clip).stem or "-"
        translation = tidy(values["translation"])
        where = f"line {row.number}"
        if not translation:
            report.leave_out("empty translation", stem, path, where)
        elif Path(clip).name != clip or not Path(clip).stem or clip.startswith("."):
            report.leave_out("bad clip name", stem, path, f"{where}: {clip[:60]!r}")
        elif Path(clip).suffix.lower() not in AUDIO:
            report.leave_out("wrong extension", stem, path, f"{where}: {clip}")
        elif not values["client_id"].strip():
            report.leave_out("no client_id", stem, path, where)
        elif first:
            clips[clip] = _Clip(
                tidy(values["sentence"]), values["client_id"].strip(), {target: translation}
            )
        elif clip in clips:
            clips[clip].translations[target] = translation


def _data_dir(
    clips: Mapping[str, _Clip], folder: Path, direction: Direction, report: Report
) -> DataDir:
    """The clips whose files are there and that have all texts."""
    there = {entry.name for entry in os.scandir(folder)}
    by_stem = {Path(name).stem: name for name in there}
    chosen: dict[str, str] = {}
    for clip, known in clips.items():
        stem = Path(clip).stem
        missing = [target for target in direction.targets if target not in known.translations]
        if missing:
            report.leave_out("no translation", stem, folder, f"into {' '.join(missing)}")
        elif clip not in there and stem in by_stem:
            report.leave_out("wrong extension", stem, folder / clip, f"{by_stem[stem]} is there")
        elif clip not in there:
            report.leave_out("missing clip", stem, folder / clip)
        else:
            transcript = plain_transcript(known.sentence, direction.source)
            if not transcript:
                report.leave_out("empty transcript", stem, folder / clip, known.sentence[:60])
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
            for target in direction.targets
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
