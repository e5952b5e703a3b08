r"""ARPA files of n-gram models: read with all checks, and copied for the words of a lexicon.

    \data\
    ngram 1=4
    ngram 2=2

    \1-grams:
    -0.9  THE  -0.3        log10 of the probability, words, log10 of the back-off weight
    ...
    \end\
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from speechlm.data.encoding import text_lines
from speechlm.data.kaldi_dir import show_ids
from speechlm.data.whole_files import DamagedFile, damage

_COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
_ENDS = ("<s>", "</s>")
_AGAIN = "copy the file again, or make it anew (train_ngram)"


def read_arpa(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str], str]]:
    """(order, words, line) of each n-gram.

    Raises:
        ValueError: the file is damaged, cut off, or something else; the line is named.
    """
    lines = _lines(path)
    counts = _read_header(path, lines)
    order = found = 0
    for number, line in lines:
        fields = line.split()
        where = f"{path}:{number}"
        if not fields:
            continue
        if fields[0].startswith("\\"):
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
            if not (order and _is_ngram(fields, order)):
                raise ValueError(
                    f"{where}: the line of a {order}-gram expected (log10 of its probability,"
                    f" words, perhaps log10 of its back-off weight), got {line[:60]!r}; {_AGAIN}"
                )
            found += 1
            yield order, fields[1 : order + 1], line
    raise ValueError(f"{path}: cut off, there is no \\end\\; {_AGAIN}")


def copy_for_words(
    path: str | os.PathLike[str], words: Collection[str], target: str | os.PathLike[str]
) -> None:
    """Copy the n-grams of known words; what is left out, and words without a unigram, are logged.

    Args:
        path: ARPA file.
        words: those known, besides `<s>` and `</s>`.
        target: file to write; its counts are those of `path`.

    Raises:
        ValueError: as `read_arpa`, or the model lacks `<s>` or `</s>`, or all of the words.
    """
    known = {*words, *_ENDS}
    seen: set[str] = set()
    left_out = last = 0
    unknown: list[str] = []
    with Path(target).open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in _header(path))
        for order, ngram, line in read_arpa(path):
            if order != last:
                file.write(f"\n\\{order}-grams:\n")
                last = order
            if known.issuperset(ngram):
                seen.update(ngram if order == 1 else ())
                file.write(f"{line}\n")
            elif ngram != ["<unk>"]:
                left_out += 1
                unknown += ngram if order == 1 else ()
        file.write("\n\\end\\\n")
    missing = [word for word in _ENDS if word not in seen]
    if missing or len(seen) == len(_ENDS):
        what = f"has no {' '.join(missing)}" if missing else "has none of the lexicon's words"
        raise ValueError(f"{path}: a word model expected, but it {what}")
    if left_out:
        logging.warning(
            "%s: %d n-grams left out, with %d words that the lexicon lacks: %s",
            *(path, left_out, len(unknown), show_ids(unknown)),
        )
    silent = sorted(known - seen)
    if silent:
        logging.warning(
            "%s lacks %d words of the lexicon, which will not be recognised: %s",
            *(path, len(silent), show_ids(silent)),
        )


def _read_header(path: str | os.PathLike[str], lines: Iterator[tuple[int, str]]) -> list[int]:
    r"""Counts of all orders; reads to the first section, whose line is checked by the caller."""
    if not any(line.strip() == "\\data\\" for _, line in lines):
        raise ValueError(f"{path}: an ARPA file expected, but there is no line \\data\\")
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
    return text_lines(path)


def _header(path: str | os.PathLike[str]) -> list[str]:
    counts = _read_header(path, _lines(path))
    return ["\\data\\", *(f"ngram {order}={n}" for order, n in enumerate(counts, 1))]


def _is_ngram(fields: list[str], order: int) -> bool:
    """Whether these are a number, `order` words, and perhaps a second number."""
    if len(fields) not in (order + 1, order + 2):
        return False
    try:
        return all(math.isfinite(float(word)) for word in (fields[0], *fields[order + 1 :]))
    except ValueError:
        return False
