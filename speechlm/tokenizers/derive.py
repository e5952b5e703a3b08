"""Pronunciations of words made from known words, by English spelling and sound rules.

A rule applies only if what is left of the word is in the dictionary or itself derived from it.
Which rules are worth having was measured by hiding CMUdict's own words from the dictionary: those
kept are at 1.3 % (clitics) to 6 % phone errors, nearly all below the network's on the same words
although it was trained on them (clitics 7 %; -ED 2.6 against 4.9 %, -NESS 3.0 against 10.8 %, UN-
2.0 against 9.3 %). Endings -ER, -EST, -ISH, the prefix RE- and compounds of parts under 5 letters
did worse and are left to the network (PREFERENCE is not PRE + FERENCE, nor PRIEST the most PRY).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from speechlm.data.lexicon import Phones

Pronunciation = tuple[Phones, str]
Dictionary = Mapping[str, Sequence[Phones]]
"""Word -> variants, the preferred one first."""

_SIBILANTS = {"S", "Z", "SH", "ZH", "CH", "JH"}
_VOICELESS = {"P", "T", "K", "F", "TH", *_SIBILANTS} - {"Z", "ZH", "JH"}


def add_s(phones: Phones) -> Phones:
    """Plural, possessive or third person: IH0 Z after sibilants, else S or Z by voicing."""
    if phones[-1] in _SIBILANTS:
        return (*phones, "IH0", "Z")
    return (*phones, "S" if phones[-1] in _VOICELESS else "Z")


def add_d(phones: Phones) -> Phones:
    """Past: IH0 D after T and D, else T or D by voicing."""
    if phones[-1] in ("T", "D"):
        return (*phones, "IH0", "D")
    return (*phones, "T" if phones[-1] in _VOICELESS else "D")


def _append(ending: str) -> Callable[[Phones], Phones]:
    return lambda phones: (*phones, *ending.split())


def _add_ly(phones: Phones) -> Phones:
    return (*phones, "IY0") if phones[-1] == "L" else (*phones, "L", "IY0")


def _syllabic(ending: str) -> Callable[[Phones], Phones]:
    """A clitic that is a lone consonant after a vowel (THEY'LL), else a syllable (IT'LL)."""

    def attach(phones: Phones) -> Phones:
        # vowels are the phones with a stress digit
        after_vowel = phones[-1][-1].isdigit()
        return (*phones, *(() if after_vowel else ("AH0",)), *ending.split())

    return attach


def _drop_g(phones: Phones) -> Phones:
    return (*phones[:-1], "N") if phones[-1] == "NG" else phones


_CLITICS: tuple[tuple[str, str, Callable[[Phones], Phones]], ...] = (
    ("'S", "", add_s),
    ("S'", "", add_s),
    ("N'T", "", _append("AH0 N T")),
    ("'LL", "", _syllabic("L")),
    ("'VE", "", _syllabic("V")),
    ("'RE", "", _append("ER0")),
    ("'D", "", add_d),
    ("'M", "", _syllabic("M")),
    ("IN'", "ING", _drop_g),
    ("'", "", lambda phones: phones),
)
"""(letters at the end, letters they stand for, what they do to the phones)."""
_PROCLITICS = {"O'": "OW0", "D'": "D", "L'": "L", "TH'": "DH", "Y'": "Y", "T'": "T"}

_ENDINGS: tuple[tuple[str, Callable[[Phones], Phones], bool], ...] = (
    ("S", add_s, False),
    ("ES", add_s, True),
    ("ED", add_d, True),
    ("ING", _append("IH0 NG"), True),
    ("INGS", _append("IH0 NG Z"), True),
    ("LY", _add_ly, False),
    ("NESS", _append("N AH0 S"), False),
    ("LESS", _append("L AH0 S"), False),
    ("FUL", _append("F AH0 L"), False),
    ("ERS", _append("ER0 Z"), True),
    ("MENT", _append("M AH0 N T"), False),
    ("ABLE", _append("AH0 B AH0 L"), True),
)
"""(letters, what they do to the phones, whether they start with a vowel letter)."""
_PREFIXES = {"UN": "AH0 N", "NON": "N AA0 N", "MIS": "M IH0 S", "DIS": "D IH0 S"}
_RESPELLINGS: tuple[tuple[str, str], ...] = (
    ("OUR", "OR"),
    ("ISE", "IZE"),
    ("ISING", "IZING"),
    ("ISATION", "IZATION"),
    ("LLED", "LED"),
    ("LLING", "LING"),
    ("AE", "E"),
    ("YSE", "YZE"),
)

_LEAST_STEM = 3
_LEAST_PART = 5
_VOWEL_LETTERS = set("AEIOU")


class Deriver:
    """Finds a word as a known word with something added, or as two known words."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary

    def __call__(self, word: str, rules: int = 2) -> Pronunciation | None:
        """(phones, method) by at most `rules` rules one inside the other, or None."""
        if word in self._dictionary:
            return self._dictionary[word][0], "dictionary"
        if rules == 0:
            return None
        for method, rule in (
            ("clitic", self._clitic),
            ("ending", self._ending),
            ("spelling", self._respelled),
            ("prefix", self._prefix),
            ("compound", self._compound),
        ):
            phones = rule(word, rules - 1)
            if phones is not None:
                return phones, method
        return None

    def split_clitic(self, word: str) -> tuple[str, Callable[[Phones], Phones]]:
        """The word without its clitic (and without other apostrophes), and what puts it back."""
        for ending, instead, change in _CLITICS:
            if word.endswith(ending) and len(word) > len(ending) and "'" in ending:
                stem = word[: len(word) - len(ending)] + instead
                return (stem if stem in self._dictionary else stem.replace("'", "")), change
        return word.replace("'", ""), lambda phones: phones

    def _clitic(self, word: str, rules: int) -> Phones | None:
        if "'" not in word:
            return None
        for start, sound in _PROCLITICS.items():
            rest = self(word[len(start) :], rules) if word.startswith(start) else None
            if rest:
                return (*sound.split(), *rest[0])
        in_full = word[:-2] + "ED"
        if word.endswith("'D") and in_full in self._dictionary:  # TURN'D
            return self._dictionary[in_full][0]
        stem, change = self.split_clitic(word)
        found = self(stem, rules) if stem and stem != word else None
        return change(found[0]) if found else None

    def _ending(self, word: str, rules: int) -> Phones | None:
        for ending, change, vowel in _ENDINGS:
            if not word.endswith(ending) or (ending == "S" and word.endswith("SS")):
                continue
            for stem in _stems(word[: -len(ending)], vowel):
                found = self(stem, rules) if len(stem) >= _LEAST_STEM else None
                if found:
                    return change(found[0])
        return None

    def _respelled(self, word: str, rules: int) -> Phones | None:
        for british, american in _RESPELLINGS:
            other = word.replace(british, american)
            if other != word and other in self._dictionary:
                return self._dictionary[other][0]
        return None

    def _prefix(self, word: str, rules: int) -> Phones | None:
        for letters, sound in _PREFIXES.items():
            stem = word[len(letters) :]
            if word.startswith(letters) and len(stem) > _LEAST_STEM:
                found = self(stem, rules)
                if found and found[1] != "compound":
                    start = sound.split()
                    return (*start[: -1 if found[0][0] == start[-1] == "S" else None], *found[0])
        return None

    def _compound(self, word: str, rules: int) -> Phones | None:
        """Two known words, cut where the shorter one is longest; the second loses its stress."""
        middle = len(word) // 2
        for shift in range(middle - _LEAST_PART + 1):
            # the two cuts that leave the shorter part middle - shift letters, 5 at least
            for cut in {middle - shift, len(word) - middle + shift}:
                first, second = word[:cut], word[cut:]
                if first in self._dictionary and second in self._dictionary:
                    tail = [p.replace("1", "2") for p in self._dictionary[second][0]]
                    return (*self._dictionary[first][0], *tail)
        return None


def _stems(rest: str, vowel: bool) -> Iterator[str]:
    """Spellings of the word before its ending: RUNN -> RUN, HOP -> HOPE, CARRI -> CARRY, as is."""
    if rest.endswith("I") and len(rest) > 1:
        yield rest[:-1] + "Y"
    if not vowel:
        yield rest
        return
    # one consonant after one vowel letter: the E was probably dropped (HOP-ING), unless doubled
    short = len(rest) > 1 and rest[-1] not in _VOWEL_LETTERS and rest[-2] in _VOWEL_LETTERS
    if short:
        yield rest + "E"
    yield rest
    if not short:
        yield rest + "E"
    if len(rest) > 2 and rest[-1] == rest[-2]:
        yield rest[:-1]
