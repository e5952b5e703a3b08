"""Kaldi data directories: wav.scp, text, utt2spk, spk2utt, utt2num_samples, text.LANG.

Every table is sorted by utterance id in the C locale (code points). `text` and
`utt2num_samples` may be absent; text.LANG are translations into the language LANG. A speaker id
is a prefix of its utterances' ids. wav.scp holds plain paths, absolute or relative to the folder
where the recipe runs; no pipes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from speechlm.data.atomic import output_file
from speechlm.data.encoding import not_utf8, refuse_wide
from speechlm.data.names import id_problem, path_problem

_T = TypeVar("_T")

_SHOWN = 5  # ids named in a message
_TRANSLATION = re.compile(r"text\.([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*)")


@dataclass
class DataDir:
    """The tables of a data directory, as dictionaries from utterance ids."""

    wav: dict[str, str]
    """Path of the audio file."""
    utt2spk: dict[str, str]
    text: dict[str, str] | None = None
    n_samples: dict[str, int] | None = None
    translations: dict[str, dict[str, str]] = field(default_factory=dict)
    """By language code, sentences with case and punctuation."""

    def __len__(self) -> int:
        return len(self.wav)

    def __post_init__(self) -> None:
        tables = {name: getattr(self, name) for name in ("utt2spk", "text", "n_samples")}
        tables |= {f"text.{language}": table for language, table in self.translations.items()}
        for name, table in tables.items():
            if table is not None and table.keys() != self.wav.keys():
                odd = sorted(table.keys() ^ self.wav.keys())
                raise ValueError(f"wav.scp and {name} have different ids: {show_ids(odd)}")

    @property
    def ids(self) -> list[str]:
        """Utterance ids in the order of the C locale."""
        return sorted(self.wav)

    @property
    def spk2utt(self) -> dict[str, list[str]]:
        """Sorted utterance ids of each speaker, speakers sorted."""
        speakers: dict[str, list[str]] = {}
        for utterance in self.ids:
            speakers.setdefault(self.utt2spk[utterance], []).append(utterance)
        return dict(sorted(speakers.items()))

    def translation(self, language: str) -> dict[str, str]:
        """The sentences in a language, or a ValueError that names those which are there."""
        if language not in self.translations:
            raise ValueError(
                f"translations into {language} expected (the table text.{language}); "
                f"there are: {' '.join(sorted(self.translations)) or 'none'}"
            )
        return self.translations[language]

    def samples(self) -> dict[str, int]:
        """utt2num_samples, or a ValueError that says how to get it."""
        if self.n_samples is None:
            raise ValueError("utt2num_samples expected, but it is not there; run format_data first")
        return self.n_samples

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> DataDir:
        """Read and check a directory.

        Raises:
            ValueError: a table is wrong; the message names the file, line or ids.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise ValueError(f"data directory expected, but {folder} is not there")
        wav = read_table(folder / "wav.scp")
        if not wav:
            raise ValueError(f"{folder / 'wav.scp'} is empty: utterances expected")
        for utterance, value in wav.items():
            check_path(value, f"{folder / 'wav.scp'}, {utterance}")
        text = folder / "text"
        samples = folder / "utt2num_samples"
        try:
            return cls(
                wav,
                read_table(folder / "utt2spk"),
                read_table(text, empty=True) if text.exists() else None,
                _read_numbers(samples) if samples.exists() else None,
                {name: read_table(file) for name, file in translation_files(folder).items()},
            )
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write all tables; tables that this data has not are removed from an old directory.

        wav.scp comes last, so that a directory with wav.scp is complete.

        Raises:
            ValueError: an id, speaker or path that could not be read back; the message names them.
        """
        folder = Path(path)
        _check_names(self, folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "wav.scp").unlink(missing_ok=True)
        write_table(folder / "utt2spk", self.utt2spk)
        write_table(folder / "spk2utt", {k: " ".join(v) for k, v in self.spk2utt.items()})
        for name, table in (("text", self.text), ("utt2num_samples", self.n_samples)):
            if table is None:
                (folder / name).unlink(missing_ok=True)
            else:
                write_table(folder / name, table)
        for language, file in translation_files(folder).items():
            if language not in self.translations:
                file.unlink()
        for language, table in self.translations.items():
            write_table(folder / f"text.{language}", table)
        write_table(folder / "wav.scp", self.wav)

    def subset(self, ids: Iterable[str]) -> DataDir:
        """The utterances named.

        Raises:
            ValueError: ids that are not there.
        """
        chosen = sorted(set(ids))
        missing = [utterance for utterance in chosen if utterance not in self.wav]
        if missing:
            raise ValueError(f"{len(missing)} ids are not in wav.scp: {show_ids(missing)}")
        return DataDir(
            {u: self.wav[u] for u in chosen},
            {u: self.utt2spk[u] for u in chosen},
            None if self.text is None else {u: self.text[u] for u in chosen},
            None if self.n_samples is None else {u: self.n_samples[u] for u in chosen},
            {name: {u: table[u] for u in chosen} for name, table in self.translations.items()},
        )


def combine(parts: Sequence[DataDir]) -> DataDir:
    """One directory of several. A table is kept if all parts have it; equal ids are an error."""
    if not parts:
        raise ValueError("at least one data directory is needed to combine")
    seen: set[str] = set()
    for part in parts:
        double = sorted(seen & part.wav.keys())
        if double:
            raise ValueError(f"{len(double)} ids are in two of the parts: {show_ids(double)}")
        seen |= part.wav.keys()

    languages = set.intersection(*(set(part.translations) for part in parts))
    return DataDir(
        _merged([part.wav for part in parts]),
        _merged([part.utt2spk for part in parts]),
        _merged_if_all([part.text for part in parts]),
        _merged_if_all([part.n_samples for part in parts]),
        {name: _merged([part.translations[name] for part in parts]) for name in sorted(languages)},
    )


def _check_names(data: DataDir, folder: Path) -> None:
    """ValueError if `data`, written into `folder`, could not be read back."""
    odd: list[str] = []
    speakers = {speaker: id_problem(speaker) for speaker in set(data.utt2spk.values())}
    for utterance, path in data.wav.items():
        speaker = data.utt2spk[utterance]
        if problem := id_problem(utterance):
            odd.append(f"{utterance!r}: {problem}")
        if problem := speakers[speaker]:
            odd.append(f"{utterance!r}, speaker {speaker!r}: {problem}")
        if problem := path_problem(path):
            odd.append(f"{utterance!r}, path {path!r}: {problem}")
    for language, table in data.translations.items():
        empty = (utterance for utterance, sentence in table.items() if not sentence.strip())
        odd += [f"{utterance!r}, translation into {language}: it is empty" for utterance in empty]
    if odd:
        raise ValueError(
            f"{folder}: {len(odd)} entries could not be read back and are not written:"
            f" {'; '.join(odd[:_SHOWN])}"
        )


def _merged(tables: Iterable[dict[str, _T]]) -> dict[str, _T]:
    return {key: value for table in tables for key, value in table.items()}


def _merged_if_all(tables: Sequence[dict[str, _T] | None]) -> dict[str, _T] | None:
    there = [table for table in tables if table is not None]
    return _merged(there) if len(there) == len(tables) else None


def translation_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """text.LANG of a data directory, by language code."""
    found = {path: _TRANSLATION.fullmatch(path.name) for path in sorted(Path(folder).iterdir())}
    return {match[1]: path for path, match in found.items() if match}


def split(data: DataDir, n: int, by_speaker: bool = False) -> list[DataDir]:
    """Cut into at most n parts of about equal audio length, in the order of the ids.

    No part is empty: there are fewer parts if there are fewer utterances (or speakers, when
    whole speakers are kept together). Without utt2num_samples utterances count the same.
    """
    if n < 1:
        raise ValueError(f"a number of parts of at least 1 expected, got {n}")
    if not data.wav:
        raise ValueError("the data directory has no utterances to split")
    groups = list(data.spk2utt.values()) if by_speaker else [[u] for u in data.ids]
    weight = data.n_samples or dict.fromkeys(data.wav, 1)
    sizes = [sum(weight[u] for u in group) for group in groups]
    bounds = _balanced_bounds(sizes, min(n, len(groups)))
    return [
        data.subset(u for group in groups[first:last] for u in group)
        for first, last in zip(bounds, bounds[1:], strict=False)
    ]


def write_split(folder: str | os.PathLike[str], parts: Sequence[DataDir]) -> None:
    """Write parts as folder/1 ... folder/N; what an earlier split left there is removed.

    Raises:
        ValueError: the folder has such names for something else, such as a corpus's speakers.
    """
    target = Path(folder)
    if target.exists():
        old = [path for path in target.iterdir() if path.is_dir() and path.name.isdigit()]
        others = sorted(path.name for path in old if not _is_part(path))
        if others:
            raise ValueError(
                f"{target}: a folder for the parts expected, but {show_ids(others)} there "
                "are no parts of a data directory; choose another folder"
            )
        for path in old:
            shutil.rmtree(path)
    for number, part in enumerate(parts, 1):
        part.write(target / str(number))


def read_table(path: str | os.PathLike[str], empty: bool = False) -> dict[str, str]:
    """Read `id value` lines, sorted and without duplicates; values may be empty if `empty`."""
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{file} expected, but it is not there")
    refuse_wide(file)
    table: dict[str, str] = {}
    last = ""
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                key, value = parse_line(line, f"{file}:{number}", empty)
                if key in table:
                    raise ValueError(f"{file}:{number}: duplicate id {key}")
                if key < last:
                    raise ValueError(
                        f"{file}:{number}: not sorted in the C locale: {key} comes after {last}"
                        " (lines are `id value`; LC_ALL=C sort brings them into order)"
                    )
                table[key] = value
                last = key
    except UnicodeDecodeError:
        raise not_utf8(file) from None
    return table


def parse_line(line: str, where: str, empty: bool = False) -> tuple[str, str]:
    """Split an `id value` line.

    Raises:
        ValueError: a blank line, BOM, carriage return, byte of zero or missing value.
    """
    if line.startswith("\ufeff"):
        raise ValueError(f"{where}: starts with a byte order mark; save it as plain UTF-8")
    if line.endswith("\r\n"):
        raise ValueError(f"{where}: ends in CR LF; convert the file to Unix line ends")
    if "\0" in line or "\r" in line:
        what = "byte of zero" if "\0" in line else "carriage return"
        raise ValueError(f"{where}: a line of text expected, but there is a {what} in it")
    fields = line.strip().split(maxsplit=1)
    if not fields or (len(fields) == 1 and not empty):
        raise ValueError(f"{where}: an id and a value expected, got {line.strip()!r}")
    return fields[0], fields[1] if len(fields) == 2 else ""


def write_table(path: str | os.PathLike[str], table: dict[str, str] | dict[str, int]) -> None:
    """Write `id value` lines sorted in the C locale, all or nothing.

    Raises:
        ValueError: a key that has a blank, or a value of several lines.
    """
    with output_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for key in sorted(table):
            line = f"{key} {table[key]}".rstrip()
            if key.split() != [key] or "\n" in line:
                raise ValueError(
                    f"{path}: an id without blanks and a value on one line expected, got {line!r}"
                )
            file.write(line + "\n")


def check_path(value: str, where: str) -> None:
    """Refuse wav.scp values that are commands, which this project never runs."""
    if value.endswith("|") or value.startswith("|"):
        raise ValueError(f"{where}: a plain path expected, got the command {value!r}")


def show_ids(ids: Sequence[str]) -> str:
    """The first few of many ids, for a message."""
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return " ".join(ids[:_SHOWN]) + more


def _is_part(folder: Path) -> bool:
    """Whether a folder has nothing but the tables of a data directory (or a part of them)."""
    names = {*os.listdir(folder)} - {"wav.scp", "text", "utt2spk", "spk2utt", "utt2num_samples"}
    return all(_TRANSLATION.fullmatch(name) or name.startswith(".") for name in names)


def _read_numbers(path: Path) -> dict[str, int]:
    table = read_table(path)
    for key, value in table.items():
        if not (value.isascii() and value.isdigit()):
            raise ValueError(f"{path}: a number of samples expected for {key}, got {value!r}")
    return {key: int(value) for key, value in table.items()}


def _balanced_bounds(sizes: Sequence[int], n: int) -> list[int]:
    """n + 1 bounds of non-empty runs: an item goes where its middle falls in n equal shares."""
    total = max(1, sum(sizes))
    bounds, done = [0], 0
    for index, size in enumerate(sizes):
        share = min(n - 1, (2 * done + size) * n // (2 * total))
        rest = len(sizes) - index
        new = len(bounds) <= share or rest == n - len(bounds)
        if new and index > bounds[-1] and len(bounds) < n:
            bounds.append(index)
        done += size
    return [*bounds, len(sizes)]
