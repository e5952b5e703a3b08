"""Kaldi data directories: wav.scp, segments, text, utt2spk, spk2utt, utt2num_samples, text.LANG.

Every table is sorted by utterance id in the C locale (code points). `text` and
`utt2num_samples` may be absent; text.LANG are translations into the language LANG. A speaker id
is a prefix of its utterances' ids. wav.scp holds plain paths, absolute or relative to the folder
where the recipe runs; no pipes. Where there is a table `segments` (see speechlm/data/segments.py),
wav.scp is a table of recordings, and utterances are parts of them; `DataDir.audio` says where the
samples of an utterance are, with such a table and without.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from speechlm.data.atomic import output_file
from speechlm.data.encoding import not_utf8, odd_character, refuse_wide
from speechlm.data.names import id_problem, path_problem
from speechlm.data.segments import SEGMENTS, AudioRange, Segment, SegmentError

MOST_SHOWN = 5
"""Ids that a message names."""
MOST_DIGITS = 18
"""Of a number that fits into 64 bits."""
NO_SAMPLES = "utt2num_samples expected, but it is not there; run format_data first"
"""What is said of a directory without that table, where it is wanted."""
_TRANSLATION = re.compile(r"text\.([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*)")


@dataclass
class DataDir:
    """The tables of a data directory, as dictionaries from utterance ids."""

    wav: dict[str, str]
    """Path of the audio file that has the utterance; `audio` says where in it."""
    utt2spk: dict[str, str]
    text: dict[str, str] | None = None
    n_samples: dict[str, int] | None = None
    translations: dict[str, dict[str, str]] = field(default_factory=dict)
    """By language code, sentences with case and punctuation."""
    segments: dict[str, Segment] = field(default_factory=dict)
    """Of the utterances that are parts of a recording; the others are whole files."""

    def __len__(self) -> int:
        return len(self.wav)

    def __post_init__(self) -> None:
        tables = {"utt2spk": self.utt2spk, "text": self.text, "utt2num_samples": self.n_samples}
        tables |= {f"text.{language}": table for language, table in self.translations.items()}
        for name, table in tables.items():
            if table is not None and table.keys() != self.wav.keys():
                odd = sorted(table.keys() ^ self.wav.keys())
                raise ValueError(f"{self._source} and {name} have different ids: {show_ids(odd)}")
        if odd := sorted(self.segments.keys() - self.wav.keys()):
            raise ValueError(f"segments without a recording: {show_ids(odd)}")
        self._recordings()

    @property
    def ids(self) -> list[str]:
        """Utterance ids in the order of the C locale."""
        return sorted(self.wav)

    def audio(self, utterance: str) -> AudioRange:
        """Where the samples of an utterance are, in a file of 16 kHz."""
        segment = self.segments.get(utterance)
        if segment is None:
            return AudioRange(self.wav[utterance])
        return AudioRange(self.wav[utterance], *segment.samples())

    def waveform(self, utterance: str) -> np.ndarray:
        """The samples of an utterance, (S,) float32 in -1..1, at 16 kHz.

        Raises:
            ValueError: they cannot be read, are no finite numbers, or are not as many as
                utt2num_samples says; the utterance, the file and what to do are named.
        """
        audio = self.audio(utterance)
        try:
            waveform = audio.read()
            expected = None if self.n_samples is None else self.n_samples[utterance]
            if expected not in (None, len(waveform)):
                raise ValueError(f"{audio}: utt2num_samples says {expected}, found {len(waveform)}")
            if not np.isfinite(waveform).all():
                raise ValueError(f"{audio}: some samples are not finite numbers")
        except ValueError as error:
            raise ValueError(
                f"utterance {utterance}: {error}; run format_data, which leaves out what is"
                " damaged, or take it out of the data directory"
            ) from None
        return waveform

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
            raise ValueError(NO_SAMPLES)
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
        wav, segments = _read_audio(folder)
        text = folder / "text"
        samples = folder / "utt2num_samples"
        try:
            return cls(
                wav,
                read_table(folder / "utt2spk"),
                read_table(text, empty=True) if text.exists() else None,
                _read_numbers(samples) if samples.exists() else None,
                {name: read_table(file) for name, file in translation_files(folder).items()},
                segments,
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
        (folder / SEGMENTS).unlink(missing_ok=True)
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
        recordings, segments = self._recordings()
        if segments:
            write_table(folder / SEGMENTS, segments)
        write_table(folder / "wav.scp", recordings)

    @property
    def _source(self) -> str:
        """The table that says which utterances there are."""
        return SEGMENTS if self.segments else "wav.scp"

    def _recordings(self) -> tuple[dict[str, str], dict[str, Segment]]:
        """wav.scp and segments: with parts among the utterances, whole files become parts, too."""
        if not self.segments:
            return self.wav, {}
        paths: dict[str, str] = {}
        for utterance, segment in self.segments.items():
            path = paths.setdefault(segment.recording, self.wav[utterance])
            if path != self.wav[utterance]:
                raise ValueError(
                    f"segments: the recording {segment.recording} is two files, {path} and"
                    f" {self.wav[utterance]}; one of them needs another name"
                )
        segments = dict(self.segments)
        for utterance in sorted(self.wav.keys() - self.segments.keys()):
            name, path = utterance, self.wav[utterance]
            while paths.setdefault(name, path) != path:  # another file has this name
                name += "+"
            segments[utterance] = Segment(name)
        return paths, segments

    def subset(self, ids: Iterable[str]) -> DataDir:
        """The utterances named.

        Raises:
            ValueError: ids that are not there.
        """
        chosen = sorted(set(ids))
        missing = [utterance for utterance in chosen if utterance not in self.wav]
        if missing:
            raise ValueError(f"{len(missing)} ids are not in {self._source}: {show_ids(missing)}")
        return DataDir(
            {u: self.wav[u] for u in chosen},
            {u: self.utt2spk[u] for u in chosen},
            None if self.text is None else {u: self.text[u] for u in chosen},
            None if self.n_samples is None else {u: self.n_samples[u] for u in chosen},
            {name: {u: table[u] for u in chosen} for name, table in self.translations.items()},
            {u: self.segments[u] for u in chosen if u in self.segments},
        )


def _read_audio(folder: Path) -> tuple[dict[str, str], dict[str, Segment]]:
    """Paths by utterance, and the segments of those that are parts of a recording."""
    paths = read_table(folder / "wav.scp")
    if not paths:
        raise ValueError(f"{folder / 'wav.scp'} is empty: utterances expected")
    for name, value in paths.items():
        check_path(value, f"{folder / 'wav.scp'}, {name}")
    file = folder / SEGMENTS
    if not file.exists():
        return paths, {}
    wav, segments = {}, {}
    for utterance, value in read_table(file).items():
        try:
            segment = Segment.parse(value)
        except SegmentError as error:
            raise ValueError(f"{file}: {utterance}: {error}") from None
        if segment.recording not in paths:
            raise ValueError(f"{file}: {utterance}: {segment.recording} is not in wav.scp")
        wav[utterance] = paths[segment.recording]
        if segment != Segment(utterance):  # else a whole file
            segments[utterance] = segment
    if not wav:
        raise ValueError(f"{file} is empty: utterances expected")
    return wav, segments


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
        raise cannot_be_read_back(folder, odd, len(odd))


def cannot_be_read_back(folder: Path, odd: Sequence[str], count: int) -> ValueError:
    """The error for entries of tables that are not written: all or the first of them, how many."""
    return ValueError(
        f"{folder}: {count} entries could not be read back and are not written:"
        f" {'; '.join(odd[:MOST_SHOWN])}"
    )


def translation_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """text.LANG of a data directory, by language code."""
    found = {path: _TRANSLATION.fullmatch(path.name) for path in sorted(Path(folder).iterdir())}
    return {match[1]: path for path, match in found.items() if match}


def read_table(path: str | os.PathLike[str], empty: bool = False) -> dict[str, str]:
    """Read `id value` lines, sorted and without duplicates.

    Args:
        path: the table.
        empty: whether values may be empty.

    Raises:
        ValueError: the table is not there or no UTF-8 text, or a line is wrong: blank, without a
            value, out of order, an id again, CR LF at its end, a byte order mark. The message
            names the line.
    """
    return dict(table_lines(path, empty))


def table_lines(path: str | os.PathLike[str], empty: bool = False) -> Iterator[tuple[str, str]]:
    """(id, value) of the lines of a table of any size, one after the other.

    Args:
        path: the table.
        empty: whether values may be empty.

    Raises:
        ValueError: as `read_table`.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{file} expected, but it is not there")
    refuse_wide(file)
    last = ""
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                key, value = parse_line(line, f"{file}:{number}", empty)
                if key <= last:
                    raise _out_of_order(file, number, key, last)
                yield key, value
                last = key
    except UnicodeDecodeError:
        raise not_utf8(file) from None


def _out_of_order(file: Path, number: int, key: str, last: str) -> ValueError:
    """The error for a line whose id does not come after that of the line before."""
    with file.open(encoding="utf-8", newline="\n") as lines:
        if any(line.split(maxsplit=1)[0] == key for line in islice(lines, number - 1)):
            return ValueError(f"{file}:{number}: duplicate id {key}")
    return ValueError(
        f"{file}:{number}: not sorted in the C locale: {key} comes after {last}"
        " (lines are `id value`; LC_ALL=C sort brings them into order)"
    )


def parse_line(line: str, where: str, empty: bool = False) -> tuple[str, str]:
    """Split an `id value` line, which may have its line end.

    Args:
        line: of a table.
        where: file and number of the line, for messages.
        empty: whether the value may be empty.

    Raises:
        ValueError: it is no such line, has CR LF at its end or a byte order mark.
    """
    if line.startswith("\ufeff"):
        raise ValueError(f"{where}: starts with a byte order mark; save it as plain UTF-8")
    if line.endswith("\r\n"):
        raise ValueError(f"{where}: ends in CR LF; convert the file to Unix line ends")
    if odd := odd_character(line):
        raise ValueError(f"{where}: a line of text expected, but there is a {odd} in it")
    fields = line.strip().split(maxsplit=1)
    if not fields or (len(fields) == 1 and not empty):
        raise ValueError(f"{where}: an id and a value expected, got {line.strip()!r}")
    return fields[0], fields[1] if len(fields) == 2 else ""


def write_table(
    path: str | os.PathLike[str], table: dict[str, str] | dict[str, int] | dict[str, Segment]
) -> None:
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


def show_ids(ids: Sequence[str], count: int | None = None) -> str:
    """The first few of many ids, for a message.

    Args:
        ids: all, or the first of them.
        count: how many there are; None: as many as given.
    """
    rest = (len(ids) if count is None else count) - MOST_SHOWN
    return " ".join(ids[:MOST_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def check_number(value: str, path: Path, key: str) -> int:
    """The number of samples that a value of a table is, or a ValueError."""
    if not (value.isascii() and value.isdigit() and len(value) <= MOST_DIGITS):
        raise ValueError(f"{path}: a number of samples expected for {key}, got {value!r}")
    return int(value)


def _read_numbers(path: Path) -> dict[str, int]:
    return {key: check_number(value, path, key) for key, value in table_lines(path)}
