"""What must not be in training data: recordings and sentences of the development and test sets.

Whatever names them will do: a data directory, one that stage 2 has made, a table with or without
ids, a list, packed by gzip or not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechlm.data.audio import SUFFIXES
from speechlm.data.books import read_paragraphs
from speechlm.data.common_voice import clip_id, clip_of
from speechlm.data.kaldi_dir import read_table
from speechlm.data.language import Language
from speechlm.data.language_text import is_normal, sentences, to_words
from speechlm.data.names import visible
from speechlm.data.text_normalize import SentenceOptions

_ID = re.compile(r"\S*\d\S*|\S*_\S*|\w+-\S+")  # what looks like an id, not like a word


def recordings(sources: Sequence[str | os.PathLike[str]]) -> set[str]:
    """Names of recordings, in small letters, as `read_common_voice` takes them.

    Args:
        sources: data directories; or files with a recording a line: tables whose first column are
            ids (of whose parts the speaker is left out), lists of paths, or TSV files that have a
            column `path`.

    Raises:
        ValueError: one is not there, or names no recording.
    """
    found: set[str] = set()
    for source in sources:
        path = Path(source)
        names = _of_directory(path) if path.is_dir() else set(_of_list(_existing(path)))
        names.discard("")
        if not names:
            raise ValueError(f"{path}: recordings to exclude expected, but it names none")
        found |= {name.casefold() for name in names}
    return found


def _of_directory(folder: Path) -> set[str]:
    """Names of a data directory's recordings: those of the files, and what ids say of clips."""
    wav, speakers = (read_table(folder / name) for name in ("wav.scp", "utt2spk"))
    files = {clip_id(clip_of(Path(path).name)) for path in wav.values()}
    # stage 2 has made files named by the ids, SPEAKER-CLIP
    return files | {u.removeprefix(f"{speaker}-") for u, speaker in speakers.items()}


def _of_list(path: Path) -> Iterator[str]:
    """Names of recordings that the lines of a file may mean."""
    column = None
    for number, line in enumerate(_lines(path)):
        fields = line.split("\t")
        if number == 0 and "path" in fields:
            column = fields.index("path")
            continue
        if column is not None:
            yield clip_id(clip_of(Path(fields[min(column, len(fields) - 1)]).name))
            continue
        utterance, *rest = line.split(maxsplit=1)
        paths = [name for name in (utterance, line, *rest) if _is_audio(name)]
        yield from (clip_id(clip_of(Path(name).name)) for name in paths)
        if utterance not in paths:
            yield from (utterance, utterance.partition("-")[2], clip_id(Path(utterance).name))


def _is_audio(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


class Sentences:
    """Sentences that must not be in the text: transcripts of the development and test sets."""

    def __init__(
        self,
        sources: Sequence[str | os.PathLike[str]],
        n_words: int,
        lengths: SentenceOptions,
        language: Language,
    ) -> None:
        """Read them; they are normalised as the text is.

        Args:
            sources: data directories, folders of *.txt files, or files: Kaldi's `text`, or a
                sentence a line.
            n_words: a sentence with so many words in a row of them is excluded, too; 0: none.
            lengths: of the text's sentences.
            language: of the text.

        Raises:
            ValueError: one is not there, or has no sentence.
        """
        self.n_words, self.lengths, self.language = n_words, lengths, language
        self.n_lines = 0
        self._whole: set[str] = set()
        self._runs: set[tuple[str, ...]] = set()
        for source in sources:
            before = self.n_lines
            for path in _texts(Path(source)):
                self._read(path)
            if self.n_lines == before:
                raise ValueError(f"{source}: sentences to exclude expected, but it has none")

    def __contains__(self, sentence: str) -> bool:
        if sentence in self._whole:
            return True
        return bool(self._runs) and any(run in self._runs for run in self._cut(sentence))

    def _read(self, path: Path) -> None:
        with_ids, without_ids = _columns(path)
        for line in _lines(path):
            rest = line.split(maxsplit=1)[1:] if with_ids else []
            wholes = [self._add(text) for text in (*rest, *([line] if without_ids else []))]
            self.n_lines += any(wholes)

    def _add(self, text: str) -> bool:
        """Add a transcript, whole and sentence by sentence; whether it has any words."""
        language = self.language
        words = text if is_normal(text, language) else to_words(text, language)
        pieces = [s for s, reason in sentences(text, self.lengths, language) if not reason]
        for sentence in {words, *pieces} - {""}:
            self._whole.add(sentence)
            self._runs.update(self._cut(sentence))
        return bool(words)

    def _cut(self, sentence: str) -> Iterator[tuple[str, ...]]:
        if self.n_words:
            words = sentence.split()
            for start in range(len(words) - self.n_words + 1):
                yield tuple(words[start : start + self.n_words])


def _texts(source: Path) -> list[Path]:
    """The files of sentences that a source stands for."""
    if not source.is_dir():
        return [_existing(source)]
    if (source / "text").is_file():
        return [source / "text"]
    found = [path for path in visible(source.iterdir()) if re.search(r"\.txt(\.gz)?$", path.name)]
    if not found:
        raise ValueError(f"{source}: a file text, or *.txt, to exclude expected; it has none")
    return found


def _columns(path: Path) -> tuple[bool, bool]:
    """Whether the first words of a file's lines may be ids, and whether they may be none.

    A word that begins two lines is no id. Where nothing tells, both may be.
    """
    seen: set[str] = set()
    all_look_so = True
    for line in _lines(path):
        first = line.split(maxsplit=1)[0]
        looks_so = bool(_ID.fullmatch(first))
        if first in seen and not looks_so:
            return False, True
        seen.add(first)
        all_look_so = all_look_so and looks_so
    return True, not all_look_so


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: a file or data directory to exclude expected, it is not there")
    return path


def _lines(path: Path) -> Iterator[str]:
    return (paragraph.text for paragraph in read_paragraphs(path, "lines"))
