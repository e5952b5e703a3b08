"""Normalising whole text files: a stream from raw novels to one sentence a line, with a report."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from speechlm.data.atomic import output_file
from speechlm.data.books import read_paragraphs
from speechlm.data.excluded import Sentences
from speechlm.data.language import LANGUAGE, Language
from speechlm.data.language_text import is_normal, sentences
from speechlm.data.names import visible
from speechlm.data.report import Refused
from speechlm.data.text_normalize import SentenceOptions

EXCLUDED = "in an excluded transcript"
"""Why a sentence of the test and development sets is dropped."""
_EXAMPLES = 10


@dataclass(frozen=True)
class TextOptions:
    """How text files become training text."""

    kind: str = "auto"
    """`book`, `lines` or `auto` (see books.read_paragraphs)."""
    lengths: SentenceOptions = SentenceOptions()
    exclude_words: int = 8
    """A run of so many words in common with an excluded transcript drops a sentence; 0: none."""
    dev_share: float = 0.0
    """Share of the sentences that goes to the held-out file, which gets at least one."""
    seed: int = 1
    """Of the choice of held-out sentences; equal sentences are always on the same side."""
    language: Language = LANGUAGE

    def __post_init__(self) -> None:
        if not 0 <= self.dev_share < 1:
            raise ValueError(f"dev_share of 0 to less than 1 expected, got {self.dev_share:g}")
        if self.exclude_words < 0:
            raise ValueError(f"exclude_words of at least 0 expected, got {self.exclude_words}")


@dataclass
class TextReport:
    """Numbers of sentences and words kept, and of what was dropped, with examples."""

    n_train: int = 0
    n_dev: int = 0
    n_words: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, reason: str, where: str, text: str) -> None:
        """Count a dropped piece; the first ones of each reason are kept as examples."""
        self.dropped[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < _EXAMPLES:
            shown.append(f"{where}: {text[:100]}")

    def summary(self) -> str:
        """One line."""
        lost = ", ".join(f"{n} {reason}" for reason, n in self.dropped.most_common())
        kept = f"{self.n_train} sentences, {self.n_dev} held out, {self.n_words} words"
        return f"{kept}; dropped: {lost or 'nothing'}"

    def write(self, path: str | os.PathLike[str], refused: str = "") -> None:
        """The summary and the examples; the reason of a refusal stands first."""
        with output_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(f"# refused: {line}\n" for line in refused.splitlines())
            file.write(self.summary() + "\n")
            for reason, n in self.dropped.most_common():
                file.write(f"\n{reason}: {n}, such as\n")
                file.writelines(f"  {example}\n" for example in self.examples[reason])


def normalize_files(
    files: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    options: TextOptions,
    exclude: Sequence[str | os.PathLike[str]] = (),
    dev_output: str | os.PathLike[str] | None = None,
) -> TextReport:
    """Write the sentences of the files, one a line; memory does not depend on their size.

    Lines that are in the output format already are taken over as they are. Sentences that are,
    or share a long run of words with, an excluded transcript are dropped.

    Raises:
        ValueError: a file is missing or no text, a held-out share has no file or a file no share.
        Refused: no sentences, or none beside the held-out ones.
    """
    if bool(options.dev_share) != bool(dev_output):
        raise ValueError("dev_share and dev_output belong together: give both or none")
    excluded = Sentences(exclude, options.exclude_words, options.lengths, options.language)
    report = TextReport()
    with ExitStack() as stack:
        paths = [stack.enter_context(output_file(p)) for p in (output, dev_output) if p]
        out = [stack.enter_context(p.open("w", encoding="utf-8")) for p in paths]
        nearest = _write(files, out, excluded, options, report)
        for file in out:
            file.close()
        if dev_output and not report.n_dev:
            report.n_dev = _move(nearest, *paths)
            report.n_train -= report.n_dev
        if not report.n_train:
            wanted = f"; more different sentences are needed (--dev_share {options.dev_share:g})"
            raise Refused(
                f"no sentence is left of {' '.join(map(str, files))}: {report.summary()}"
                f"{wanted if report.n_dev else ''}",
                report,
            )
    if exclude and EXCLUDED not in report.dropped:
        logging.warning(
            "none of the %d sentences to exclude (%s) is among the %d of %s; if some should be,"
            " compare how both are written",
            excluded.n_lines,
            " ".join(map(str, exclude)),
            report.n_train + report.n_dev,
            " ".join(map(str, files)),
        )
    return report


def find_files(inputs: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The files named, and the *.txt files of the folders named, sorted; hidden ones are none."""
    found: list[Path] = []
    for path in map(Path, inputs):
        inside = list(filter(_is_text, visible(path.iterdir()))) if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"text files expected, but {path} has no *.txt")
        found += inside
    return found


def _is_text(path: Path) -> bool:
    return path.suffix.lower() == ".txt" and path.is_file()


def _write(
    files: Sequence[str | os.PathLike[str]],
    out: Sequence[TextIO],
    excluded: Sentences,
    options: TextOptions,
    report: TextReport,
) -> str:
    """Write the sentences to the first file of `out`; to the second, if any, those held out.

    Returns:
        The sentence to hold out if none was: that of the smallest draw.
    """
    nearest = (2**64, "")
    for path in files:
        for where, sentence in _sentences(path, options, report):
            if sentence in excluded:
                report.drop(EXCLUDED, where, sentence)
                continue
            held = False
            if len(out) > 1:
                draw = _draw(sentence, options.seed)
                # draws are evenly spread over 0 .. 2^64 - 1: this share of them is below
                held, nearest = draw < options.dev_share * 2**64, min(nearest, (draw, sentence))
            out[held].write(sentence + "\n")
            report.n_dev += held
            report.n_train += not held
            report.n_words += sentence.count(" ") + 1
    return nearest[1]


def _sentences(
    path: str | os.PathLike[str], options: TextOptions, report: TextReport
) -> Iterator[tuple[str, str]]:
    """(file:line, sentence) of the good ones; the others are counted."""
    name = os.path.basename(path)
    for paragraph in read_paragraphs(path, options.kind):
        where = f"{name}:{paragraph.line}"
        if paragraph.reason:
            report.drop(paragraph.reason, where, paragraph.text)
        elif paragraph.is_line and is_normal(paragraph.text, options.language):
            yield where, paragraph.text
        else:
            for sentence, reason in sentences(paragraph.text, options.lengths, options.language):
                if reason:
                    report.drop(reason, where, sentence)
                else:
                    yield where, sentence


def _draw(sentence: str, seed: int) -> int:
    """A number from 0 to 2^64 - 1 that depends on sentence and seed alone."""
    digest = hashlib.blake2b(f"{seed} {sentence}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _move(sentence: str, source: Path, target: Path) -> int:
    """Move all lines that are a sentence to the end of another file; returns their number."""
    n_moved = 0
    with ExitStack() as stack:
        rest = stack.enter_context(output_file(source))
        lines, kept, moved = (
            stack.enter_context(path.open(mode, encoding="utf-8"))
            for path, mode in ((source, "r"), (rest, "w"), (target, "a"))
        )
        for line in lines:
            is_it = line == sentence + "\n"
            (moved if is_it else kept).write(line)
            n_moved += is_it
    return n_moved
