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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechlm.data.common_voice import (
    VALIDATED,
    Clip,
    clip_id,
    clips_folder,
    data_dir,
    is_sound,
    sentence_rows,
    tidy,
    unique_rows,
    unquoted,
)
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.names import visible
from speechlm.data.removal_marks import is_marked_for_removal
from speechlm.data.report import Report
from speechlm.data.tsv import Row, read_tsv

PARTS = {"train": ("train", "train_covost"), "dev": ("dev",), "test": ("test",)}
"""The values of the column `split` that make each part."""


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


def read_covost(
    common_voice: str | os.PathLike[str],
    translations: str | os.PathLike[str],
    direction: Direction,
    part: str,
) -> tuple[DataDir, Report]:
    """Read one part into a data directory, without opening the audio.

    Rows that are wrong, translations without a clip, duplicates and empty texts are left out and
    reported. So are translations with a mark that they are to be removed (`removal_marks`), except
    in test, where they are noted and kept: scores are of the whole test set. `text` is the
    transcript in upper case without punctuation; `text.LANG` are the translations, cased, with
    punctuation. Doubled quotes become single ones, but in the translations of `test`, which are
    scored as they are published.

    Args:
        common_voice: folder of a language of a release: clips/ and validated.tsv (which is needed
            for the form of three columns only).
        translations: folder of CoVoST's TSV files, of either form; or, for a single target, a TSV
            file of either form.
        direction: the languages.
        part: train, dev or test. A file of four columns is taken whole.

    Raises:
        ValueError: files or columns are missing.
        Refused: nothing can be used.
    """
    if part not in PARTS:
        raise ValueError(f"a part of {' '.join(PARTS)} expected, got {part}")
    folder = clips_folder(common_voice)
    report = Report()
    clips: dict[str, Clip] = {}
    validated: dict[str, Row] | None = None
    for index, target in enumerate(direction.targets):
        path = find_tsv(translations, direction, target, part)
        rows = _rows_of_part(path, part, report)
        if any(not {"sentence", "client_id"} <= row.values.keys() for row in rows.values()):
            if validated is None:
                validated = _read_validated(Path(common_voice) / VALIDATED, report)
            rows = _with_sentences(rows, validated, path, report)
        if index:  # only clips that the first direction has are kept
            rows = {clip: row for clip, row in rows.items() if clip in clips}
        sound = _sound_rows(rows, path, part, report)
        _add(clips, sound, target)
    return data_dir(clips, folder, direction.source, direction.targets, report), report


def find_tsv(
    translations: str | os.PathLike[str], direction: Direction, target: str, part: str
) -> Path:
    """The file of a part in one direction; the form of four columns is preferred.

    Raises:
        ValueError: there is none; the message names those that are there.
    """
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
    names = [path.name for path in visible(folder.glob("covost_v2.*.tsv"))]
    directions = sorted({name.split(".")[1] for name in names})
    raise ValueError(
        f"{folder}: no translations of {direction.source} into {target}, part {part} ({stem}.tsv"
        f" or {stem}.{part}.tsv expected); directions that are there: "
        f"{' '.join(directions) or 'none'}; files: {' '.join(names[:8]) or 'none'}"
    )


def _rows_of_part(path: Path, part: str, report: Report) -> dict[str, Row]:
    """Rows of a file of either form by clip."""
    table = read_tsv(path, ("path", "translation"), report)
    if part != "test":  # references are scored as they are published
        table = [unquoted(row, "translation", path, report) for row in table]
    rows = unique_rows(table, path, report)
    _check_form(rows, path)
    if rows and "split" in next(iter(rows.values())).values:
        rows = {c: r for c, r in rows.items() if r.values["split"] in PARTS[part]}
    return rows


def _read_validated(path: Path, report: Report) -> dict[str, Row]:
    if not path.is_file():
        raise ValueError(
            f"{path} expected, but it is not there: translations in the form `path translation"
            " split` take their sentences from it"
        )
    return sentence_rows(path, report)


def _with_sentences(
    rows: Mapping[str, Row], validated: Mapping[str, Row], path: Path, report: Report
) -> dict[str, Row]:
    """Rows that validated.tsv has as well, with its sentence and client_id."""
    joined = {}
    for clip, row in rows.items():
        if clip not in validated:
            detail = f"line {row.number}: not in {VALIDATED}"
            report.leave_out("not a validated clip", clip_id(clip), path, detail)
            continue
        known = validated[clip].values
        more = {name: known[name] for name in ("sentence", "client_id")}
        joined[clip] = Row(row.number, {**row.values, **more})
    return joined


def _check_form(rows: Mapping[str, Row], path: Path) -> None:
    """ValueError unless the columns are those of one of the two forms."""
    if not rows:
        return
    columns = next(iter(rows.values())).values.keys()
    if "split" not in columns and not {"sentence", "client_id"} <= columns:
        raise ValueError(
            f"{path}: the columns `path translation split` or `path sentence translation client_id`"
            f" expected, found {' '.join(columns)}"
        )


def _sound_rows(rows: Mapping[str, Row], path: Path, part: str, report: Report) -> dict[str, Row]:
    """Rows with a usable clip name, speaker and translation."""
    sound = {}
    for clip, row in rows.items():
        translation = tidy(row.values["translation"])
        where = f"line {row.number}: {translation[:60]}"
        marked = is_marked_for_removal(translation, row.values["sentence"])
        if not translation:
            report.leave_out("empty translation", clip_id(clip), path, where)
        elif marked and part != "test":
            report.leave_out("marked for removal", clip_id(clip), path, where)
        elif is_sound(clip, row, path, report):
            sound[clip] = row
            if marked:
                report.note("marked for removal", clip_id(clip), path, where)
    return sound


def _add(clips: dict[str, Clip], rows: Mapping[str, Row], target: str) -> None:
    """Add a direction's translations to the clips."""
    for clip, row in rows.items():
        values = row.values
        sentence, client = tidy(values["sentence"]), values["client_id"].strip()
        known = clips.setdefault(clip, Clip(values["path"], sentence, client))
        known.translations[target] = tidy(values["translation"])
