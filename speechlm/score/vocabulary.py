"""Words of the references that a decoder's lexicon lacks: it can never write them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from speechlm.data.encoding import text_lines
from speechlm.score.markdown import code, markdown_table

OOV_WORDS = "oov.tsv"
"""Name of the table inside a folder of scores."""
_NO_WORDS = frozenset({"<eps>", "#0", "<s>", "</s>"})
"""Symbols of a search graph's words.txt that are no words."""


@dataclass
class OutOfVocabulary:
    """How much of the references a lexicon lacks."""

    lexicon: str
    """Its file."""
    lexicon_words: int
    tokens: int
    """Words of the references."""
    unknown: int
    """Of these, those that the lexicon lacks."""
    different: int
    """Different words among the unknown ones."""

    @property
    def rate(self) -> float:
        """Unknown words per word of the references, in percent."""
        return 100.0 * self.unknown / max(1, self.tokens)


def read_lexicon_words(path: str | os.PathLike[str]) -> set[str]:
    """The first word of each line: of a lexicon, a list of words, or a graph's `words.txt`.

    Raises:
        ValueError: the file is missing or no text, or has no word.
    """
    words = {line.split(maxsplit=1)[0] for _, line in text_lines(path) if line.strip()} - _NO_WORDS
    if not words:
        raise ValueError(f"{path} has no word; a lexicon or a list of words expected")
    return words


def out_of_vocabulary(
    references: Iterable[str], words: set[str], lexicon: str | os.PathLike[str]
) -> tuple[OutOfVocabulary, Counter[str]]:
    """Count the words of the references that a lexicon lacks.

    Args:
        references: sentences.
        words: the lexicon's.
        lexicon: its file.

    Returns:
        Figures, and how often each unknown word occurs.
    """
    spoken: Counter[str] = Counter()
    for reference in references:
        spoken.update(reference.split())
    unknown = Counter({word: count for word, count in spoken.items() if word not in words})
    figures = OutOfVocabulary(
        os.fspath(lexicon), len(words), spoken.total(), unknown.total(), len(unknown)
    )
    return figures, unknown


def other_case(unknown: Counter[str], words: set[str]) -> int:
    """How many unknown words (counted as often as they occur) the lexicon has in another case."""
    folded = {word.casefold() for word in words}
    return sum(count for word, count in unknown.items() if word.casefold() in folded)


def write_unknown(unknown: Counter[str], path: str | os.PathLike[str]) -> None:
    """Write `word count` with a tab between, the most frequent first."""
    lines = ["word\tcount\n"] + [f"{word}\t{count}\n" for word, count in _by_count(unknown)]
    Path(path).write_text("".join(lines), encoding="utf-8")


def unknown_table(figures: OutOfVocabulary, unknown: Counter[str], most: int) -> str:
    """Markdown: how many words are unknown, and the most frequent of them."""
    rows = [(word, str(count)) for word, count in _by_count(unknown)[:most]]
    table = "\n" + markdown_table(("word", "count"), rows) if rows else ""
    return (
        f"Words that the lexicon lacks\n\n- {figures.unknown} of {figures.tokens} words "
        f"({figures.rate:.1f} %), {figures.different} different ones, are not among the "
        f"{figures.lexicon_words} words of {code(figures.lexicon)}\n{table}"
    )


def _by_count(unknown: Counter[str]) -> list[tuple[str, int]]:
    return sorted(unknown.items(), key=lambda item: (-item[1], item[0]))
