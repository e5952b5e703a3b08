"""The tables of a dump directory, written utterance by utterance in the order of the ids."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType

from speechlm.data.conversion import Result
from speechlm.data.dir_split import write_spk2utt
from speechlm.data.kaldi_dir import MOST_SHOWN, cannot_be_read_back
from speechlm.data.names import path_problem
from speechlm.data.segments import SEGMENTS, Segment
from speechlm.data.sorting import scratch, sort_lines
from speechlm.data.validate import Checked

_Place = tuple[str, str, str]
"""Utterance, path, and what a line of `segments` says of it ("" of a whole file)."""


class DumpTables:
    """Writes the tables of a dump directory; they are whole when the block ends well.

    Args:
        folder: an empty one.
        text: whether utterances have transcripts.
        languages: of their translations.
        parts: whether some utterances may be parts of recordings.

    Attributes: `n`, utterances that were written.
    """

    def __init__(self, folder: Path, text: bool, languages: Sequence[str], parts: bool) -> None:
        self.n = 0
        self._folder, self._parts = folder, parts
        names = ["utt2spk", "utt2num_samples", *(["text"] if text else [])]
        self._names = [*names, *(f"text.{language}" for language in languages)]
        self._odd: list[str] = []
        self._n_odd = self._n_parts = 0
        self._stack = ExitStack()

    def __enter__(self) -> DumpTables:
        opened = (self._folder / name for name in self._names)
        self._files = [
            self._stack.enter_context(path.open("w", encoding="utf-8")) for path in opened
        ]
        wav = self._folder / "wav.scp"
        self._wav = self._stack.enter_context(wav.open("w", encoding="utf-8"))
        self._places = self._stack.enter_context(scratch(self._folder))
        return self

    def add(self, found: Checked, result: Result) -> None:
        """Write an utterance, whose audio is where the result says."""
        utterance, texts = found.utterance, [] if found.text is None else [found.text]
        values = (found.speaker, result.n_samples, *texts, *found.translations)
        for file, value in zip(self._files, values, strict=True):
            file.write(f"{utterance} {value}\n")
        self._wav.write(f"{utterance} {result.path}\n")
        if self._parts:
            place = utterance, result.path, str(result.segment or "")
            self._places.write(f"{json.dumps(place)}\n".encode())
            self._n_parts += result.segment is not None
        self.n += 1
        if problem := path_problem(result.path):
            self._n_odd += 1
            if self._n_odd <= MOST_SHOWN:
                self._odd.append(f"{utterance!r}, path {result.path!r}: {problem}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is None:
                if self._n_odd:
                    raise cannot_be_read_back(self._folder, self._odd, self._n_odd)
                if self._n_parts:  # else all are whole files
                    self._wav.truncate(0)
                    self._wav.seek(0)
                    self._wav.writelines(line.decode() for line in self._recordings())
        if kind is None:
            write_spk2utt(self._folder)

    def _recordings(self) -> Iterator[bytes]:
        """Write segments, where whole files are parts, too; yields the lines of wav.scp."""
        recordings = {
            Segment.parse(segment).recording: path
            for _, path, segment in self._written()
            if segment
        }
        with (
            (self._folder / SEGMENTS).open("w", encoding="utf-8") as file,
            scratch(self._folder) as whole,
        ):
            for utterance, path, segment in self._written():
                if not segment:
                    name = utterance
                    while recordings.get(name, path) != path:  # another file has this name
                        name += "+"
                    if name != utterance:
                        recordings[name] = path
                    elif name not in recordings:
                        whole.write(f"{name} {path}\n".encode())
                    segment = str(Segment(name))
                file.write(f"{utterance} {segment}\n")
            whole.seek(0)
            others = (f"{name} {path}\n".encode() for name, path in recordings.items())
            lines = chain(others, whole)
            yield from sort_lines(lines, self._folder, lambda line: line.partition(b" ")[0])

    def _written(self) -> Iterator[_Place]:
        self._places.seek(0)
        return map(json.loads, self._places)
