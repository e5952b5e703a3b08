"""A probabilistic context-free grammar: English sentences from rules.txt and words.txt."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

WORDS = Path(__file__).with_name("words.txt")
RULES = Path(__file__).with_name("rules.txt")
MIN_WORDS, MAX_WORDS = 6, 14
_VOWELS = "aeiou"
_AN_EXCEPTIONS = {"hour", "honest"}
_A_EXCEPTIONS = {"uniform", "one", "european", "useful", "university", "ukulele", "unicorn"}


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh", "z")):
        return word + "es"
    if word.endswith("y") and word[-2] not in _VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def _noun(entry: str) -> dict[str, str]:
    singular, _, plural = entry.partition("/")
    return {"s": singular, "p": plural or _plural(singular)}


def _verb(entry: str) -> dict[str, str]:
    entry, double = entry.replace("+", ""), "+" in entry
    base, *irregular = entry.split("/")
    stem = base + base[-1] if double else base
    if base.endswith("e") and not base.endswith(("ee", "oe")):
        past, ing = base + "d", base[:-1] + "ing"
    elif base.endswith("y") and base[-2] not in _VOWELS:
        past, ing = base[:-1] + "ied", base + "ing"
    else:
        past, ing = stem + ("d" if base.endswith("e") else "ed"), stem + "ing"
    done = irregular or [past, past]
    third = "goes" if base == "go" else _plural(base)
    return {"0": base, "z": third, "d": done[0], "n": done[1], "g": ing}


_VERBS: tuple[str, ...]
_VERBS = ("take", "eat", "wear", "drive", "greet", "tame", "think", "grow", "go", "rest", "happen")
_VERBS += ("say", "try")
_NOUNS: tuple[str, ...]
_NOUNS = ("person", "animal", "food", "object", "clothing", "vehicle", "place", "nature", "unit")
_NOUNS += ("abstract",)


def read_words(path: Path = WORDS) -> dict[str, list[dict[str, str]]]:
    """{class: forms of each of its words}, in the order of the file."""
    classes: dict[str, list[dict[str, str]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, words = line.partition(":")
        for entry in words.split():
            if name in _VERBS:
                forms = _verb(entry)
            elif name in _NOUNS:
                forms = _noun(entry)
            else:
                forms = {"x": entry}
            classes.setdefault(name, []).append(forms)
    return classes


class Grammar:
    """Draws sentences. Words are drawn by rank in their class, weight (rank + 8) ** -0.7."""

    def __init__(self, without: Collection[str] = ()) -> None:
        """`without` names words (see `lexemes`) that are never drawn, in any class and form."""
        banned = set(without)
        self.rules = read_rules()
        self.words: dict[str, tuple[list[dict[str, str]], np.ndarray]] = {}
        for name, words in read_words().items():
            weights = (np.arange(len(words)) + 8.0) ** -0.7
            keep = [i for i, forms in enumerate(words) if _base(forms) not in banned]
            chosen = weights[keep]
            self.words[name] = ([words[i] for i in keep], np.cumsum(chosen / chosen.sum()))

    def sentence(self, rng: np.random.Generator) -> str:
        """One sentence in LibriSpeech's style: upper case, A-Z and apostrophes."""
        while True:
            words: list[str] = []
            self._expand("S", rng, words)
            if MIN_WORDS <= len(words) <= MAX_WORDS and not _clumsy(words):
                return " ".join(_articles(words)).upper()

    def _expand(self, symbol: str, rng: np.random.Generator, words: list[str]) -> None:
        expansions, cumulative = self.rules[symbol]
        chosen = expansions[int(np.searchsorted(cumulative, rng.random(), side="right"))]
        for item in chosen:
            if item in self.rules:
                self._expand(item, rng, words)
            elif "." in item:
                words.append(self._word(item, rng))
            else:
                words.append(item)

    def _word(self, item: str, rng: np.random.Generator) -> str:
        name, _, form = item.partition(".")
        form, apostrophe, suffix = form.partition("'")
        words, cumulative = self.words[name]
        index = int(np.searchsorted(cumulative, rng.random(), side="right"))
        return words[index][form] + apostrophe + suffix


def lexemes(share: float, rng: np.random.Generator) -> list[str]:
    """A random share of the base forms of every class, to be held back from a part."""
    chosen: set[str] = set()
    for words in read_words().values():
        bases = [_base(forms) for forms in words]
        n = min(round(share * len(bases)), len(bases) - 1)
        chosen.update(bases[i] for i in rng.permutation(len(bases))[:n])
    return sorted(chosen)


def _base(forms: dict[str, str]) -> str:
    return next(iter(forms.values()))


def read_rules(path: Path = RULES) -> dict[str, tuple[list[list[str]], np.ndarray]]:
    """{symbol: (expansions, cumulative probabilities)}."""
    grouped: dict[str, list[tuple[float, list[str]]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            symbol, weight, *expansion = line.split()
            grouped.setdefault(symbol, []).append((float(weight), expansion))
    rules = {}
    for symbol, parts in grouped.items():
        weights = np.array([weight for weight, _ in parts])
        rules[symbol] = ([expansion for _, expansion in parts], np.cumsum(weights / weights.sum()))
    return rules


def _clumsy(words: list[str]) -> bool:
    """The same content word twice in a sentence, as in `the key was as old as the key`."""
    long = [word for word in words if len(word) > 4]
    return len(set(long)) < len(long)


def _articles(words: list[str]) -> list[str]:
    """`a` before a vowel becomes `an`."""
    fixed = list(words)
    for index, (word, following) in enumerate(zip(words, words[1:], strict=False)):
        vowel = following[0] in _VOWELS and following not in _A_EXCEPTIONS
        if word == "a" and (vowel or following in _AN_EXCEPTIONS):
            fixed[index] = "an"
    return fixed
