"""Word and character error rates of recognition results, in sclite's columns.

Source: the tables of ESPnet's and Kaldi's RESULTS (Snt, Wrd, Corr, Sub, Del, Ins, Err, S.Err).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import kaldialign

from speechlm.data.kaldi_dir import show_ids

GAP = ""
"""Symbol of an insertion or a deletion in an alignment; no token is empty."""


@dataclass
class ErrorCounts:
    """Edit operations over a set of sentences."""

    sentences: int = 0
    tokens: int = 0
    """Reference tokens (words or characters)."""
    correct: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    wrong_sentences: int = 0
    empty_references: int = 0
    """Sentences without a reference token; what is recognised in them counts as insertions."""

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference token, in percent."""
        return 100.0 * self.errors / max(1, self.tokens)

    def row(self) -> tuple[float, ...]:
        """Snt, Wrd, Corr, Sub, Del, Ins, Err, S.Err; the last six in percent."""
        counts = (self.correct, self.substitutions, self.deletions, self.insertions, self.errors)
        shares = tuple(100.0 * n / max(1, self.tokens) for n in counts)
        return (
            self.sentences,
            self.tokens,
            *shares,
            100.0 * self.wrong_sentences / max(1, self.sentences),
        )

    def add(self, reference: list[str], hypothesis: list[str]) -> list[tuple]:
        """Count one sentence; returns its alignment, pairs with "" for a gap."""
        pairs = kaldialign.align(reference, hypothesis, GAP)
        correct = sum(r == h for r, h in pairs)
        deletions = sum(h == GAP for _, h in pairs)
        insertions = sum(r == GAP for r, _ in pairs)
        self.sentences += 1
        self.tokens += len(reference)
        self.correct += correct
        self.deletions += deletions
        self.insertions += insertions
        self.substitutions += len(pairs) - correct - deletions - insertions
        self.wrong_sentences += correct != len(pairs)
        self.empty_references += not reference
        return pairs

    def merge(self, other: ErrorCounts) -> None:
        """Add the counts of further sentences."""
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)


@dataclass
class ErrorRates:
    """Word and character errors of one test set."""

    words: ErrorCounts
    characters: ErrorCounts
    alignments: dict[str, list[tuple]]
    """Aligned words (reference, hypothesis) of every utterance; `GAP` for none."""
    single: dict[str, tuple[ErrorCounts, ErrorCounts]]
    """Words and characters of every utterance."""

    def only_written_otherwise(self) -> int:
        """Wrong words that differ in case or in Unicode's normal form alone."""
        return sum(
            reference != hypothesis and _alike(reference) == _alike(hypothesis)
            for pairs in self.alignments.values()
            for reference, hypothesis in pairs
        )


def _alike(word: str) -> str:
    return unicodedata.normalize("NFC", word.casefold())


def check_same_utterances(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> None:
    """Make sure that references and hypotheses are of the same utterances.

    Raises:
        ValueError: only one of the two has an utterance (they are named), there is none, or all
            references are empty.
    """
    missing = sorted(references.keys() - hypotheses.keys())
    extra = sorted(hypotheses.keys() - references.keys())
    if missing or extra:
        raise ValueError(
            "references and hypotheses are of different utterances: "
            + "; ".join(
                f"{len(ids)} {what}: {show_ids(ids)}"
                for ids, what in ((missing, "not recognised"), (extra, "without a reference"))
                if ids
            )
            + (
                ". Decode the whole set again, or score it against its own references"
                if references.keys() & hypotheses.keys()
                else ". Not one id is in both: lines of `id words` are expected, neither sentences "
                "alone nor lines of `words (id)`"
            )
        )
    if not references:
        raise ValueError("there is no utterance to score")
    if not any(text.strip() for text in references.values()):
        raise ValueError(
            f"the references of all {len(references)} utterances are empty: sentences to compare "
            "with are expected"
        )


def error_rates(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> ErrorRates:
    """Score sentences; both arguments map utterance ids to words separated by blanks.

    Characters are scored with a `|` for each gap between words, as ESPnet does with `<space>`.

    Raises:
        ValueError: the two have different ids (they are named), or there is none.
    """
    check_same_utterances(references, hypotheses)
    result = ErrorRates(ErrorCounts(), ErrorCounts(), {}, {})
    for utterance in sorted(references):
        reference, hypothesis = references[utterance], hypotheses[utterance]
        words, letters = ErrorCounts(), ErrorCounts()
        result.alignments[utterance] = words.add(reference.split(), hypothesis.split())
        letters.add(characters(reference), characters(hypothesis))
        result.single[utterance] = words, letters
        result.words.merge(words)
        result.characters.merge(letters)
    return result


def characters(sentence: str) -> list[str]:
    """The characters of a sentence, with a `|` for each gap between words."""
    return list("|".join(sentence.split()))
