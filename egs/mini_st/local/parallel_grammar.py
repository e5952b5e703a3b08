"""A small made-up parallel grammar: English sentences with their German translations.

German puts the time first and the subject behind the verb (`Gestern kaufte der Lehrer ein Buch`),
participles and verbs of subordinate clauses last, and has cases and genders, so that words cannot
be translated one by one in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORDS = Path(__file__).with_name("words.tsv")
_THE = {"nom": {"m": "der", "f": "die", "n": "das"}, "acc": {"m": "den", "f": "die", "n": "das"}}
_A = {"nom": {"m": "ein", "f": "eine", "n": "ein"}, "acc": {"m": "einen", "f": "eine", "n": "ein"}}
_AFTER_THE = {"nom": {"m": "e", "f": "e", "n": "e"}, "acc": {"m": "en", "f": "e", "n": "e"}}
_AFTER_A = {"nom": {"m": "er", "f": "e", "n": "es"}, "acc": {"m": "en", "f": "e", "n": "es"}}
_VOWELS = "aeiou"


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation, or parts of them."""

    english: str
    german: str


@dataclass(frozen=True)
class _Phrase:
    english: str
    nominative: str
    accusative: str


class ParallelGrammar:
    """Draws sentences of equal shape in both languages."""

    def __init__(self) -> None:
        self.words: dict[str, list[list[str]]] = {}
        for line in WORDS.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                kind, *fields = line.split("\t")
                self.words.setdefault(kind, []).append(fields)

    def sentence(self, rng: np.random.Generator) -> Pair:
        """One pair, cased and with a full stop or question mark."""
        shapes = (self._past, self._perfect, self._when, self._question, self._belief)
        pair = shapes[rng.choice(len(shapes), p=(0.35, 0.25, 0.1, 0.1, 0.2))](rng)
        return Pair(*(text[0].upper() + text[1:] for text in (pair.english, pair.german)))

    def _past(self, rng: np.random.Generator) -> Pair:
        """The teacher bought a book yesterday. Gestern kaufte der Lehrer ein Buch."""
        who, what, (past, _, german, _), (when, wann) = self._parts(rng)
        return Pair(
            f"{who.english} {past} {what.english} {when}.",
            f"{wann} {german} {who.nominative} {what.accusative}.",
        )

    def _perfect(self, rng: np.random.Generator) -> Pair:
        """The teacher has bought a book. Der Lehrer hat ein Buch gekauft."""
        who, what, (_, participle, _, german), _ = self._parts(rng)
        return Pair(
            f"{who.english} has {participle} {what.english}.",
            f"{who.nominative} hat {what.accusative} {german}.",
        )

    def _when(self, rng: np.random.Generator) -> Pair:
        """When the child lost the key, ... Als das Kind den Schlüssel verlor, ..."""
        who, what, (past, _, german, _), _ = self._parts(rng)
        other = self._phrase("noun", rng)
        lost, _, verlor, _ = self._word("verb", rng)
        more = self._phrase("thing", rng)
        return Pair(
            f"when {who.english} {past} {what.english}, {other.english} {lost} {more.english}.",
            f"als {who.nominative} {what.accusative} {german}, "
            f"{verlor} {other.nominative} {more.accusative}.",
        )

    def _question(self, rng: np.random.Generator) -> Pair:
        """Has the teacher bought a book? Hat der Lehrer ein Buch gekauft?"""
        who, what, (_, participle, _, german), _ = self._parts(rng)
        return Pair(
            f"has {who.english} {participle} {what.english}?",
            f"hat {who.nominative} {what.accusative} {german}?",
        )

    def _belief(self, rng: np.random.Generator) -> Pair:
        """I think that the teacher bought a book. Ich denke, dass der Lehrer ein Buch kaufte."""
        who, what, (past, _, german, _), _ = self._parts(rng)
        return Pair(
            f"I think that {who.english} {past} {what.english}.",
            f"ich denke, dass {who.nominative} {what.accusative} {german}.",
        )

    def _parts(self, rng: np.random.Generator) -> tuple[_Phrase, _Phrase, list[str], list[str]]:
        who, what = self._phrase("noun", rng), self._phrase("thing", rng)
        return who, what, self._word("verb", rng), self._word("time", rng)

    def _phrase(self, kind: str, rng: np.random.Generator) -> _Phrase:
        """An article, perhaps an adjective, and a noun."""
        english, gender, german = self._word(kind, rng)
        definite = kind == "noun" or rng.random() < 0.5
        the, endings = (_THE, _AFTER_THE) if definite else (_A, _AFTER_A)
        before, stem = "", ""
        if rng.random() < 0.2:
            before, stem = self._word("adjective", rng)
            before += " "
        article = "the" if definite else ("an" if (before + english)[0] in _VOWELS else "a")
        cases = []
        for case in ("nom", "acc"):
            adjective = f"{stem}{endings[case][gender]} " if stem else ""
            cases.append(f"{the[case][gender]} {adjective}{german}")
        return _Phrase(f"{article} {before}{english}", *cases)

    def _word(self, kind: str, rng: np.random.Generator) -> list[str]:
        return self.words[kind][int(rng.integers(len(self.words[kind])))]


def draw(counts: Sequence[int], seed: int) -> list[list[Pair]]:
    """So many pairs for each of several sets; no English sentence is in two of them, or twice.

    Raises:
        ValueError: the grammar does not give as many.
    """
    rng = np.random.default_rng([seed, 0])
    grammar, used, sets = ParallelGrammar(), set(), []
    for count in counts:
        drawn: list[Pair] = []
        tries = 0
        while len(drawn) < count:
            pair = grammar.sentence(rng)
            tries += 1
            if pair.english.lower() not in used:
                used.add(pair.english.lower())
                drawn.append(pair)
            elif tries > 100 * count + 1000:
                raise ValueError(f"the grammar does not give {sum(counts)} different sentences")
        sets.append(drawn)
    return sets
