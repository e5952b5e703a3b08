r"""ARPA files of n-gram models: read with all checks, and copied for the words of a lexicon.

    \data\
    ngram 1=4
    ngram 2=2

    \1-grams:
    -0.9  THE  -0.3        log10 of the probability, words, log10 of the back-off weight
    ...
    \end\

kaldilm, which makes transducers of them, ends the process where it does not like a line, and leaves
out or takes twice what contradicts itself; all of that is found here first.
"""

from __future__ import annotations

import gzip
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import TextIO

from speechlm.data.encoding import text_lines, unpacking
from speechlm.data.kaldi_dir import show_ids
from speechlm.data.whole_files import DamagedFile, damage

GRAPH_BYTES = 2100
"""Memory (bytes) that making a search graph takes for each n-gram, as measured."""
KENLM_BINARY = b"mmap lm http://kheafield.com/code"
"""How files in KenLM's own format begin."""

_OTHER_FORMATS = {
    KENLM_BINARY: "KenLM's binary format: give the ARPA file that it was built from, or use it for"
    " rescoring (--rescore_lm)",
    b"blmt": "IRSTLM's binary format: write an ARPA file of it",
    b"Qblmt": "IRSTLM's binary format: write an ARPA file of it",
    b"SRILM_BINARY": "SRILM's binary format: write an ARPA file of it",
    b"\xd6\xfd\xb2\x7e": "a transducer of OpenFst: give the ARPA file that it was made from",
}
_COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)", re.ASCII)
_BLANKS = re.compile(r"[ \t\f\v]+")
_ENDS = ("<s>", "</s>")
_LARGEST = 1e38
"""Numbers are read as 32-bit floats by others."""
_AGAIN = "copy the file again, or make it anew (train_ngram)"
_REFUSED, _WARNED = 0.5, 0.95
"""Shares of a lexicon's words that a model must have, and should have."""
_SHOWN = 5


def read_arpa(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str], str]]:
    """(order, words, line) of each n-gram; the line with tabs between its two or three parts.

    Raises:
        ValueError: the file is damaged, cut off, or something else; the line is named.
    """
    lines = _lines(path)
    counts = _read_header(path, lines)
    order = found = 0
    for number, line in lines:
        fields = line.split() if line.isascii() else _BLANKS.split(line.strip(" \t"))
        if not fields or not fields[0]:
            continue
        if fields[0][0] == "\\":
            where = f"{path}:{number}"
            if order and found != counts[order - 1]:
                raise ValueError(
                    f"{where}: {counts[order - 1]} {order}-grams expected, found {found}; {_AGAIN}"
                )
            expected = "\\end\\" if order == len(counts) else f"\\{order + 1}-grams:"
            if fields != [expected]:
                raise ValueError(f"{where}: {expected} expected, got {line[:40]!r}; {_AGAIN}")
            if order == len(counts):
                return
            order, found = order + 1, 0
        else:
            if problem := _problem(fields, order, len(counts)):
                raise ValueError(f"{path}:{number}: {problem}, got {line[:60]!r}; {_AGAIN}")
            found += 1
            words = fields[1 : order + 1]
            parts = [fields[0], " ".join(words)]
            if order < len(counts):  # a weight of 0 behind the longest n-grams means nothing
                parts += fields[order + 1 :]
            yield order, words, "\t".join(parts)
    raise ValueError(f"{path}: cut off, there is no \\end\\; {_AGAIN}")


def copy_for_words(
    path: str | os.PathLike[str], words: Collection[str], target: str | os.PathLike[str]
) -> list[str]:
    """Copy the n-grams of known words; what is left out is logged.

    Args:
        path: ARPA file, plain or .gz. It is read once, line by line; the n-grams that are kept
            are in memory as text.
        words: those known, besides `<s>` and `</s>`.
        target: file to write.

    Returns:
        The words without a unigram, which a graph of the copy does not write.

    Raises:
        ValueError: as `read_arpa`, or an n-gram is there twice, or the model lacks `<s>` or
            `</s>` or more than half of the words, or a graph of it would not fit into memory.
    """
    with Path(target).open("w", encoding="utf-8") as file:
        orders = _read_header(path, _lines(path))
        copy = _Copy(path, words, len(orders), file)
        for order, ngram, line in read_arpa(path):
            copy.add(order, ngram, line)
        copy.finish()
    return copy.silent


def copy_unpacked(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy a whole ARPA file, byte by byte; a packed one (.gz) is unpacked.

    Raises:
        ValueError: it cannot be unpacked.
    """
    with unpacking(path), _open(path) as source, Path(target).open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


@dataclass
class _Copy:
    """What has been copied of a model, and what has not."""

    path: str | os.PathLike[str]
    words: Collection[str]
    orders: int
    file: TextIO
    counts: list[int] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    """N-grams of the order that is read."""
    shorter: set[str] = field(default_factory=set)
    """N-grams of the order before: the histories that there are."""
    known: set[str] = field(default_factory=set)
    """Words whose n-grams are kept: at first those of the lexicon, then those with a unigram."""
    unknown: list[str] = field(default_factory=list)
    """The model's words that the lexicon lacks."""
    silent: list[str] = field(default_factory=list)
    """The lexicon's words that the model lacks."""
    left_out: int = 0
    """N-grams with words that are not known."""
    orphans: list[str] = field(default_factory=list)
    """N-grams in the wrong place."""

    def __post_init__(self) -> None:
        self.known = {*self.words, *_ENDS}
        self.limit = _memory() // GRAPH_BYTES
        self._header([0] * self.orders)

    def add(self, order: int, ngram: list[str], line: str) -> None:
        """Copy one n-gram, or note why not."""
        while len(self.counts) < order:
            self._next_order()
        text = line.split("\t", 2)[1]
        if not self.known.issuperset(ngram):
            if ngram != ["<unk>"]:
                self.left_out += 1
                self.unknown += ngram if order == 1 else ()
        elif order > 1 and not self._has_place(ngram):
            self.orphans.append(text)
        elif text in self.kept:
            raise ValueError(f"{self.path}: the {order}-gram {text!r} is there twice; {_AGAIN}")
        else:
            self.kept.add(text)
            self.file.write(f"{line}\n")
            self.counts[-1] += 1
            if sum(self.counts) > self.limit:
                raise ValueError(_too_large(self.path, self.limit))

    def finish(self) -> None:
        """Write the end and the true counts; say what was left out."""
        while len(self.counts) <= self.orders:
            self._next_order()
        self.file.write("\n\\end\\\n")
        self.file.seek(0)
        self._header(self.counts[: self.orders])
        if self.left_out:
            logging.warning(
                "%s: %d n-grams left out, which have words without a unigram or not in the lexicon,"
                " which lacks %d of the model's: %s",
                *(self.path, self.left_out, len(self.unknown), show_ids(self.unknown) or "none"),
            )
        if self.orphans:
            logging.warning(
                "%s: %d n-grams left out whose beginning is no n-gram of the model, or which have"
                " <s> or </s> within: %s",
                *(self.path, len(self.orphans), ", ".join(self.orphans[:_SHOWN])),
            )

    def _has_place(self, ngram: list[str]) -> bool:
        """Whether the history is an n-gram, with `<s>` only at its start and `</s>` at the end."""
        within = "<s>" in ngram[1:] or "</s>" in ngram[:-1]
        return not within and " ".join(ngram[:-1]) in self.shorter

    def _next_order(self) -> None:
        if len(self.counts) == 1:
            self.silent = sorted(set(self.words) - self.kept)
            _check_coverage(self)
            self.known = self.kept
        if len(self.counts) < self.orders:
            self.file.write(f"\n\\{len(self.counts) + 1}-grams:\n")
        self.shorter, self.kept = self.kept, set()
        self.counts.append(0)

    def _header(self, counts: Sequence[int]) -> None:
        # the counts are written once more at the end, over these: each takes 12 characters
        self.file.write("\\data\\\n")
        for order, count in enumerate(counts, 1):
            self.file.write(f"ngram {order}={count:<12}\n")


def _check_coverage(copy: _Copy) -> None:
    """Compare the words of a lexicon with a model's, when its unigrams have been read.

    Raises:
        ValueError: the model lacks `<s>` or `</s>`, or more than half of the lexicon.
    """
    path, silent, unknown, n_words = copy.path, copy.silent, copy.unknown, len(copy.words)
    if missing := [word for word in _ENDS if word not in copy.kept]:
        raise ValueError(f"{path}: a word model expected, but it has no {' '.join(missing)}")
    share = (n_words - len(silent)) / max(1, n_words)
    if share < _REFUSED:
        raise ValueError(
            f"{path} has {n_words - len(silent)} of the {n_words} words of the lexicon"
            f" ({share:.1%}; at least {_REFUSED:.0%} expected): model and lexicon are not of the"
            f" same words. Words of the lexicon alone: {' '.join(silent[:_SHOWN])}; of the model"
            f" alone: {' '.join(unknown[:_SHOWN]) or 'none'}.{_reason(silent, unknown)}"
        )
    if silent:
        logging.log(
            logging.WARNING if share < _WARNED else logging.INFO,
            "%s lacks %d of the %d words of the lexicon, which will not be recognised: %s",
            *(path, len(silent), n_words, show_ids(silent)),
        )


def _reason(silent: Sequence[str], unknown: Collection[str]) -> str:
    """Why a model may lack words, and what to do; '' if that is not seen."""
    others = {*unknown}
    if 2 * sum(word.lower() in others for word in silent) >= len(silent):
        return (
            " The model is in lower case: make one of text in upper case, as normalize_text writes"
            " it, or write the file's words in upper case"
        )
    if len(unknown) < len(silent) / 10:
        return " The lexicon is of other or more text: give the words of the model's"
    return ""


def _too_large(path: str | os.PathLike[str], limit: int) -> str:
    return (
        f"{path} has more n-grams of the lexicon's words than {limit}, of which a graph would take"
        f" all memory of this machine ({limit * GRAPH_BYTES / 2**30:.0f} GiB, {GRAPH_BYTES} bytes"
        " an n-gram): prune the model (train_ngram --prune), or use it for rescoring (--rescore_lm)"
    )


def _memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read_header(path: str | os.PathLike[str], lines: Iterator[tuple[int, str]]) -> list[int]:
    r"""Counts of all orders; reads to the first section, whose line is checked by the caller."""
    first = ""
    for _, line in lines:
        if line.strip() == "\\data\\":
            break
        first = first or line.strip()
    else:
        begins = f"; it begins with {first[:40]!r}" if first else ""
        raise ValueError(f"{path}: an ARPA file expected, but there is no line \\data\\{begins}")
    counts: list[int] = []
    for number, line in lines:
        match = _COUNT.fullmatch(line.strip())
        if match and int(match[1]) == len(counts) + 1:
            counts.append(int(match[2]))
        elif line.strip():
            raise ValueError(f"{path}:{number}: `ngram 1=COUNT` lines, and a blank one, expected")
        elif counts:
            return counts
    raise ValueError(f"{path}: cut off within its counts; {_AGAIN}")


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    if wrong := damage(path):
        raise DamagedFile(f"{path} {wrong}; {_AGAIN}")
    with unpacking(path), _open(path) as file:
        head = file.read(64)
    if other := next(
        (text for start, text in _OTHER_FORMATS.items() if head.startswith(start)), ""
    ):
        raise ValueError(f"{path}: a graph needs an ARPA file, and this is {other}")
    return text_lines(path)


def _open(path: str | os.PathLike[str]) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if Path(path).suffix == ".gz" else Path(path).open("rb")


def _problem(fields: Sequence[str], order: int, longest: int) -> str:
    """What an n-gram's line should be, or what is wrong with its numbers; '' if it is sound."""
    usual = (
        f"the line of a {order}-gram expected (log10 of its probability, words, perhaps log10 of"
        " its back-off weight)"
    )
    if not order or len(fields) not in (order + 1, order + 2):
        return usual
    try:
        numbers = [_number(text) for text in (fields[0], *fields[order + 1 :])]
    except ValueError:
        return usual
    if numbers[0] > 0:
        return "the logarithm of a probability, of 0 or less, expected"
    if order == longest and numbers[1:] not in ([], [0.0]):
        return (
            f"no back-off weight expected behind a {order}-gram, the longest by the counts at the"
            " start"
        )
    return ""


def _number(text: str) -> float:
    """Read a number as all programs do.

    Raises:
        ValueError: it is none, or too large.
    """
    value = float(text)
    # Python takes 1_000 and the digits of all scripts as well; NaN is not between the limits
    if not (-_LARGEST < value < _LARGEST) or "_" in text or not text.isascii():
        raise ValueError(text)
    return value
