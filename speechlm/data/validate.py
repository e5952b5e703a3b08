"""Reading a data directory that may be wrong: sound utterances are kept, the others reported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from speechlm.data.checked_lines import Entry, checked_lines
from speechlm.data.kaldi_dir import check_path, translation_files
from speechlm.data.language import APOSTROPHE, LANGUAGE
from speechlm.data.names import id_problem
from speechlm.data.report import Report
from speechlm.data.segments import SEGMENTS, Segment, SegmentError
from speechlm.data.sorting import side_by_side

REPORT = "report.tsv"
"""Name of the report inside a data directory."""

_ALLOWED = "A-Z, '" if LANGUAGE.is_english else LANGUAGE.described
_NO_LINE: Entry = (None, False)


class Checked(NamedTuple):
    """An utterance whose tables are right."""

    utterance: str
    path: str
    """Of the audio file that has it."""
    speaker: str
    text: str | None
    translations: Sequence[str]
    """In the order of `CheckedTables.languages`."""
    segment: Segment | None
    """Of an utterance that is a part of a recording."""


class CheckedTables:
    """The utterances of a data directory in the order of their ids, without those that are wrong.

    Left out: duplicate ids with different values, ids without audio, speaker or transcript (if
    there is a `text`), transcripts without audio, empty transcripts, characters other than the
    language's letters and space (in English A-Z and the apostrophe), speakers that are no prefix of
    the id. Put right: order, repeated lines, blank lines, CR LF, byte order marks, case. A report
    that an earlier stage left in the directory is continued. Where there are translations
    (text.LANG), transcripts may be of any language and are not changed; empty or absent
    translations are left out.

    With a table `segments`, utterances are parts of recordings. Left out: lines that are no
    segment, segments of recordings that wav.scp lacks or has twice, and ids without a segment.
    Whether a segment lies in its recording is seen where the audio is read.

    The tables are read side by side: in memory are the paths of recordings that have segments, and
    nothing of other utterances.

    Args:
        path: the directory.
        room: a folder with room for tables that must be sorted.

    Attributes: `folder`, the directory; `report`, complete when all utterances have been read,
    which is done once; `text` and `parts`, whether there are tables `text` and `segments`;
    `languages` of the translations.

    Raises:
        ValueError: wav.scp or utt2spk is not there.
    """

    def __init__(self, path: str | os.PathLike[str], room: Path) -> None:
        self.folder, self._room = Path(path), room
        if not self.folder.is_dir():
            raise ValueError(f"data directory expected, but {self.folder} is not there")
        self._speakers = self.folder / "utt2spk"
        self.report = Report.read(self.folder / REPORT)
        self.text = (self.folder / "text").is_file()
        translations = translation_files(self.folder)
        self.languages = list(translations)
        self._texts = [*([self.folder / "text"] if self.text else []), *translations.values()]
        self.parts = (self.folder / SEGMENTS).is_file()
        self._recordings: dict[str, str] = {}
        self._used: set[str] = set()
        # What is said of the tables one after the other, though they are read side by side.
        names = ["wav.scp", "utt2spk", *(t.name for t in self._texts), SEGMENTS, "ids", "speakers"]
        names += [f"{what} {t.name}" for t in self._texts for what in ("absent", "said")]
        self._reports = {name: Report() for name in names}

    def __iter__(self) -> Iterator[Checked]:
        wav = self._lines(self.folder / "wav.scp")
        if self.parts:
            self._recordings = {n: e[0] for n, e in wav if e[0] is not None and not e[1]}
            wav = self._lines(self.folder / SEGMENTS)
        speakers = self._lines(self._speakers)
        texts = [self._lines(table, empty=True) for table in self._texts]
        for utterance, entries in side_by_side([wav, speakers, *texts]):
            if (found := self._check(utterance, [e or _NO_LINE for e in entries])) is not None:
                yield found
        for name in sorted(self._recordings.keys() - self._used):
            path = self._recordings[name]
            self._reports[SEGMENTS].note("recording without segments", name, path, "not used")
        for report in self._reports.values():
            self.report.items += report.items

    def _lines(self, table: Path, empty: bool = False) -> Iterator[tuple[str, Entry]]:
        return checked_lines(table, self._reports[table.name], self._room, empty)

    def _check(self, utterance: str, entries: Sequence[Entry]) -> Checked | None:
        (place, _), (speaker, _), *texts = entries
        if place is None:
            self._without_audio(utterance, speaker, [text for text, _ in texts])
            return None
        right = not any(wrong for _, wrong in entries)
        path, segment = place, None
        if self.parts:
            # An utterance whose segment is wrong goes on, so that what else is wrong is told, too.
            found = self._segment(utterance, place)
            right, path, segment = right and found is not None, *(found or ("", None))
        right = self._check_id(utterance, path, speaker) and right
        said = [
            self._check_text(utterance, table, text)
            for table, (text, _) in zip(self._texts, texts, strict=True)
        ]
        if not right or speaker is None or None in said:
            return None
        text, *translations = said if self.text else [None, *said]
        return Checked(utterance, path, speaker, text, [t or "" for t in translations], segment)

    def _without_audio(
        self, utterance: str, speaker: str | None, texts: Sequence[str | None]
    ) -> None:
        """Report an utterance that the table of audio has not got."""
        if self.parts:
            if any(value is not None for value in (speaker, *texts)):
                where, why = self.folder / SEGMENTS, "it is in other tables"
                self._reports[SEGMENTS].leave_out("no segment", utterance, where, why)
            return
        if speaker is not None:
            self._reports["speakers"].leave_out("speaker without audio", utterance, self._speakers)
        for table, text in zip(self._texts, texts, strict=True):
            if text is not None:
                kind, shown = f"{_what(table)} without audio", " ".join(text.split())[:60]
                self._reports[f"said {table.name}"].leave_out(kind, utterance, table, shown)

    def _segment(self, utterance: str, value: str) -> tuple[str, Segment | None] | None:
        """Path and segment of an utterance, which is a whole file without; None if it is wrong."""
        report, table = self._reports[SEGMENTS], self.folder / SEGMENTS
        try:
            segment = Segment.parse(value)
        except SegmentError as error:
            if value:  # else it is reported already
                report.leave_out(error.kind, utterance, table, error.detail)
            return None
        if segment.recording not in self._recordings:
            why = f"{segment.recording} is not in wav.scp, or is wrong there"
            report.leave_out("segment without a recording", utterance, table, why)
            return None
        self._used.add(segment.recording)
        whole = segment == Segment(utterance)
        return self._recordings[segment.recording], None if whole else segment

    def _check_id(self, utterance: str, path: str, speaker: str | None) -> bool:
        if "|" in path:
            check_path(path, f"{self.folder / 'wav.scp'}, {utterance}")
        report, table = self._reports["ids"], self._speakers
        if problem := id_problem(utterance):
            source = self.folder / (SEGMENTS if self.parts else "wav.scp")
            report.leave_out("bad id", utterance, source, problem)
        elif speaker is None:
            report.leave_out("no speaker", utterance, table)
        elif not utterance.startswith(speaker):
            detail = f"speaker {speaker} is no prefix of the id"
            report.leave_out("speaker not a prefix", utterance, table, detail)
        else:
            return True
        return False

    def _check_text(self, utterance: str, table: Path, text: str | None) -> str | None:
        """A transcript or translation as it is used; None if it is wrong.

        English transcripts are in capital letters, others in small ones. Where there are
        translations they may be of any language, and whatever is said may have any characters.
        """
        if text is None:
            self._reports[f"absent {table.name}"].leave_out(f"no {_what(table)}", utterance, table)
            return None
        report = self._reports[f"said {table.name}"]
        plain = " ".join(text.split())  # other programs take a carriage return for the line's end
        if self.languages:
            problem = None if plain else (f"empty {_what(table)}", "")
        else:
            if (cased := LANGUAGE.cased(plain)) != plain:
                plain = cased
                case = "lower case" if LANGUAGE.is_english else "upper case"
                report.fix(case, utterance, table)
            problem = transcript_problem(plain)
        if problem:
            report.leave_out(problem[0], utterance, table, problem[1])
        return None if problem else plain


def transcript_problem(transcript: str) -> tuple[str, str] | None:
    """(kind, detail) of what is wrong with a transcript in the right case, None if nothing is."""
    if not transcript:
        return "empty transcript", ""
    if odd := sorted(set(transcript) - {" ", *LANGUAGE.letters}):
        shown = " ".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in odd[:10])
        return "non-speech characters", f"{shown} (only {_ALLOWED} and space are)"
    if all(word.strip(APOSTROPHE) for word in transcript.split()):
        return None
    return "non-speech characters", "an apostrophe stands alone"


def _what(table: Path) -> str:
    return "transcript" if table.name == "text" else "translation"
