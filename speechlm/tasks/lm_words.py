"""Words of a language model: their ids, and the lines of texts as ids."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from speechlm.data.atomic import write_text
from speechlm.data.kaldi_dir import show_ids
from speechlm.data.text_corpus import TextCorpus, id_columns
from speechlm.data.whole_files import read_lines
from speechlm.lm.spellings import read_spellings

PAD, UNKNOWN = 0, 1
"""Ids beside those of words; the last id begins and ends sentences. (ESPnet masks id 0.)"""
_FIRST, _LAST = ("<blank>", "<unk>"), "<sos/eos>"
_LOOKED_AT = 4096  # lines of a text, when it is asked whether it can be used at all


class WordList:
    """The words that a language model knows, with ids; all others are `<unk>`.

    Attributes: `tokens` (id -> token: `<blank> <unk>`, the words in order of their code points,
    `<sos/eos>`), `end` (id of the beginning and end of sentences).

    Args:
        words: the words, in any order, again or once.
        source: where they are from, for messages.

    Raises:
        ValueError: there are none, or one is the name of another token.
    """

    def __init__(self, words: Iterable[str], source: str) -> None:
        known = sorted(set(words))
        reserved = {*_FIRST, _LAST}.intersection(known)
        if not known or reserved:
            found = f"found {' '.join(sorted(reserved))}" if reserved else "found none"
            raise ValueError(f"{source}: words expected, {found}")
        self.source = source
        self.tokens = (*_FIRST, *known, _LAST)
        self.end = len(self.tokens) - 1
        self._ids = {word: n for n, word in enumerate(known, len(_FIRST))}

    @classmethod
    def of_lexicon(cls, path: str | os.PathLike[str]) -> WordList:
        """The words of a decoding lexicon: pronunciations, spellings, or a list of words.

        Raises:
            ValueError: as `read_spellings`.
        """
        return cls(read_spellings(Path(path)), str(path))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> WordList:
        """Read what `write` wrote.

        Raises:
            ValueError: it is something else.
        """
        tokens = read_lines(path, "tokens of a language model", "train_lm writes them")
        found = cls((token for token in tokens if token not in (*_FIRST, _LAST)), str(path))
        if found.tokens != tuple(tokens):
            raise ValueError(f"{path}: {' '.join(_FIRST)}, sorted words and {_LAST} expected")
        return found

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the tokens, one a line: the line number from 0 is the id (atomically)."""
        write_text(path, "".join(f"{token}\n" for token in self.tokens))

    @property
    def sha256(self) -> str:
        """Hash of the file that `write` writes: two lists with the same have the same ids."""
        return hashlib.sha256("".join(f"{t}\n" for t in self.tokens).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def ids(self, words: Sequence[str]) -> np.ndarray:
        """(n,) int64 ids of n words."""
        return np.fromiter((self._ids.get(w, UNKNOWN) for w in words), np.int64, len(words))

    def check_same(self, other: WordList) -> None:
        """Make sure that another list has the same words.

        Raises:
            ValueError: it has not; the first words that only one of them has are named.
        """
        if self.sha256 != other.sha256:
            raise ValueError(f"{self.source} and {other.source} differ: {self._differences(other)}")

    def _differences(self, other: WordList) -> str:
        ours, theirs = self._ids.keys() - other._ids.keys(), other._ids.keys() - self._ids.keys()
        parts = ((ours, self.source), (theirs, other.source))
        return "; ".join(
            f"{len(words)} words are in {source} alone: {show_ids(sorted(words))}"
            for words, source in parts
            if words
        )


class Sentences:
    """The lines of texts, by number, as ids of words (B lines, L words of the longest).

    Args:
        paths: files with a sentence a line; those named `text` are Kaldi's, with ids before them.
        words: the words that are known.

    Raises:
        ValueError: a file cannot be read, or has no line.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], words: WordList) -> None:
        self.words = words
        self._corpora = [TextCorpus(path) for path in paths]
        self._skipped = [id_columns(corpus.path) for corpus in self._corpora]
        self._starts = np.cumsum([0, *map(len, self._corpora)])

    @property
    def path(self) -> Path:
        """The first file."""
        return self._corpora[0].path

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _place(self, line: int) -> tuple[int, int]:
        """Number of a line's file, and the line's number in it."""
        file = int(np.searchsorted(self._starts, line, "right")) - 1
        return file, line - int(self._starts[file])

    def name(self, line: int) -> str:
        """How a line is called in messages: `file:number`, from 1."""
        file, number = self._place(line)
        return f"{self._corpora[file].path}:{number + 1}"

    def __getitem__(self, line: int) -> list[str]:
        """Words of line 0, 1, ...; none if it is empty."""
        file, number = self._place(line)
        return self._corpora[file][number].split()[self._skipped[file] :]

    def unit_counts(self, lines: np.ndarray, passes: np.ndarray | None = None) -> np.ndarray:
        """(n,) words of lines by number, and 1 for the end of each; 0: the line is empty."""
        counts = [len(self[int(line)]) for line in lines]
        return np.array([n + 1 if n else 0 for n in counts], np.int64)

    def batch(self, lines: np.ndarray) -> dict[str, torch.Tensor]:
        """text (B, L) ids padded with 0, text_lengths (B,), unknown_words ()."""
        rows = [self.words.ids(self[int(line)]) for line in lines]
        unknown = sum(int((row == UNKNOWN).sum()) for row in rows)
        return {**padded(rows), "unknown_words": torch.tensor(unknown)}

    def sample(self) -> np.ndarray:
        """(n,) numbers of some thousand lines from all over the text, or of all."""
        return np.unique(np.linspace(0, len(self) - 1, _LOOKED_AT).astype(np.int64))

    def check_known(self) -> None:
        """Make sure that most words of the text are known, by lines from all over it.

        Raises:
            ValueError: more than half are not, as in another case or language.
        """
        found = [word for line in self.sample() for word in self[int(line)]]
        unknown = [word for word in found if word not in self.words]
        if 2 * len(unknown) > len(found):
            odd = list(dict.fromkeys(unknown))[:5]
            raise ValueError(
                f"{self.path}: {len(unknown)} of {len(found)} words that were looked at are not in "
                f"{self.words.source}: {' '.join(odd)} ...; it has "
                f"{' '.join(self.words.tokens[len(_FIRST) : -1][:5])} ... A text in the lexicon's "
                "style is expected (normalize_text writes upper case, without punctuation)"
            )


def padded(rows: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
    """text (B, L) ids, right-padded with 0, and text_lengths (B,)."""
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    text = torch.full((len(rows), int(lengths.max()) if rows else 0), PAD)
    for i, row in enumerate(rows):
        text[i, : len(row)] = torch.from_numpy(row)
    return {"text": text, "text_lengths": lengths}
