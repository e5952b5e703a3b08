"""Symbols and ids: the phone inventory, discrete units, and characters.

Three numberings meet here and are kept apart by name everywhere:

- a *symbol* is text, e.g. `AH0_I` or `E`;
- a *label* is its line number in `tokens.txt` (what frame-label archives hold);
- a *model id* is its row in the embedding: label + 4, after `<s> <pad> </s> <unk>`,
  with `<mask>` as the last row (the dictionaries of the released SpeechLM).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from speechlm.conventions import BLANK, BOS, EOS, PAD, SPECIALS, UNK
from speechlm.data.atomic import write_text
from speechlm.data.encoding import text_lines
from speechlm.data.language import FILE_VARIABLE, LANGUAGE, STRESSES, Language
from speechlm.data.whole_files import read_lines

MASK = "<mask>"
N_SPECIALS = len(SPECIALS)

POSITIONS = ("B", "E", "I", "S")
"""Word positions: begin, end, inside, single (a word of one phone)."""
N_DISAMBIGUATION = 17
SILENCE, NOISE = "SIL", "SPN_S"
"""Silence is written without a position. Noise and unknown words are a word of one phone."""


def inventory(language: Language) -> tuple[str, ...]:
    """Symbols of a language's phones by label: with stress, where they have any, and positions."""
    symbols = ["<eps>"]
    for name in ("SIL", "SPN"):
        symbols += [name, *(f"{name}_{position}" for position in POSITIONS)]
    for phone in sorted(language.phones):
        stresses = ("", *STRESSES) if phone in language.stressed else ("",)
        symbols += [f"{phone}{s}_{position}" for s in stresses for position in POSITIONS]
    symbols += [f"#{n}" for n in range(N_DISAMBIGUATION)]
    return tuple(symbols)


PHONES: tuple[str, ...] = inventory(LANGUAGE)
"""Of English: the 364 entries of SpeechLM-P's `dict.phn.txt`, in its order; the index is the label.
"""
phone_id: dict[str, int] = {symbol: label for label, symbol in enumerate(PHONES)}
"""Label of each phone symbol."""
FOLDED_PHONES: tuple[str, ...] = ("SIL", "SPN", *sorted(LANGUAGE.phones))
"""Classes for scoring: silence, noise and the language's phones, in English the 39 of ARPAbet."""
_FOLDED_ID = {symbol: n for n, symbol in enumerate(FOLDED_PHONES)}


def fold_phone(symbol: str) -> str:
    """Phone without word position and stress, for scoring: `AH0_I` -> `AH`.

    Raises:
        ValueError: symbols that are no phone (`<eps>`, `#1`, unknown ones).
    """
    base = symbol.partition("_")[0].rstrip("012")
    if base not in _FOLDED_ID or symbol.startswith("#"):
        raise ValueError(
            f"{symbol!r} is not a phone: expected one of {' '.join(FOLDED_PHONES)}, "
            "with an optional stress digit and position (_B _I _E _S)"
        )
    return base


def folding_table(symbols: Sequence[str] = PHONES) -> np.ndarray:
    """Index into FOLDED_PHONES for every label: int64 (len(symbols),); -1 where it is no phone."""
    table = np.full(len(symbols), -1, np.int64)
    for label, symbol in enumerate(symbols):
        if symbol == "<eps>" or symbol.startswith("#"):
            continue
        table[label] = _FOLDED_ID[fold_phone(symbol)]
    return table


def add_positions(phones: Sequence[str]) -> list[str]:
    """Word-position-dependent spelling of one word's phones: `_B _I.. _E`, or `_S` alone."""
    if len(phones) == 1:
        return [f"{phones[0]}_S"]
    if not phones:
        raise ValueError("a word without phones: every pronunciation needs at least one")
    marks = ["B", *["I"] * (len(phones) - 2), "E"]
    return [f"{phone}_{mark}" for phone, mark in zip(phones, marks, strict=True)]


def write_tokens(path: str | Path, tokens: Iterable[str]) -> None:
    """Write symbols, one a line: the line number from 0 is the label (atomically)."""
    write_text(path, "".join(f"{token}\n" for token in tokens))


def write_origin(tokens: str | Path, origin: str | None) -> None:
    """Write `UnitVocabulary.origin` beside the list of symbols `tokens`; None: there is no file."""
    path = Path(tokens).with_suffix(".origin")
    if origin is None:
        path.unlink(missing_ok=True)
    else:
        write_text(path, f"{origin}\n")


class UnitVocabulary:
    """Discrete units (phones or clusters): symbol <-> label <-> model id.

    Attributes: `symbols` (label -> symbol), `bos pad eos unk mask` (model ids),
    `n_ids` (rows of the embedding: 4 specials + units + `<mask>`), `origin` (the clustering whose
    clusters the symbols are: those of any two are called 0, 1, 2, ...; None if they are names, or
    if it is not known).
    """

    bos, pad, eos, unk = BOS, PAD, EOS, UNK

    def __init__(
        self, symbols: Iterable[str], source: str = "the given symbols", origin: str | None = None
    ) -> None:
        self.symbols = tuple(symbols)
        self.source, self.origin = source, origin
        self._labels = {symbol: label for label, symbol in enumerate(self.symbols)}
        if not self.symbols:
            raise ValueError(f"{source}: no units; expected one symbol a line")
        if len(self._labels) != len(self.symbols):
            twice = sorted(s for s, n in Counter(self.symbols).items() if n > 1)
            raise ValueError(f"{source}: symbols occur twice: {' '.join(twice[:10])}")
        reserved = set(self.symbols) & {*SPECIALS, MASK}
        if reserved:
            raise ValueError(
                f"{source}: {' '.join(sorted(reserved))} must not be listed; "
                "the specials and <mask> are added to every vocabulary"
            )

    @classmethod
    def phones(cls) -> UnitVocabulary:
        """The phones of the process's language; of English SpeechLM-P's 364 (369 model ids)."""
        return cls(PHONES, f"the phones of {LANGUAGE.source}")

    @classmethod
    def read(cls, path: str | Path) -> UnitVocabulary:
        """Read `tokens.txt` (a symbol a line, line number = label) and `tokens.origin`, if any.

        Raises:
            ValueError: the file is missing, damaged, or of other lines.
        """
        lines = read_lines(path, "units")
        bad = [n for n, line in enumerate(lines, 1) if len(line.split()) != 1]
        if bad:
            raise ValueError(
                f"{path}: expected one symbol a line; not so at line(s) "
                f"{', '.join(map(str, bad[:10]))}"
            )
        beside = Path(path).with_suffix(".origin")
        origin = " ".join(line for _, line in text_lines(beside)) if beside.is_file() else None
        return cls((line.strip() for line in lines), str(path), origin)

    def write(self, path: str | Path) -> None:
        """Write `tokens.txt`, and `tokens.origin` if it is known."""
        write_tokens(path, self.symbols)
        write_origin(path, self.origin)

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def mask(self) -> int:
        """Model id of `<mask>`, the last row."""
        return N_SPECIALS + len(self.symbols)

    @property
    def n_ids(self) -> int:
        """Number of model ids: 4 specials + units + `<mask>`."""
        return self.mask + 1

    def label(self, symbol: str) -> int:
        """Label of a symbol.

        Raises:
            ValueError: it is not in the vocabulary.
        """
        try:
            return self._labels[symbol]
        except KeyError:
            first, last = self.symbols[0], self.symbols[-1]
            raise ValueError(
                f"unit {symbol!r} is not in {self.source} ({len(self)} units: {first} .. {last})"
            ) from None

    def labels(self, symbols: Iterable[str]) -> np.ndarray:
        """Labels of symbols, int64 (T,)."""
        return np.array([self.label(symbol) for symbol in symbols], np.int64)

    def to_model_ids(self, labels: np.ndarray) -> np.ndarray:
        """Embedding rows of labels (any shape), int64.

        Raises:
            ValueError: labels out of range.
        """
        labels = np.asarray(labels)
        if labels.size and (labels.min() < 0 or labels.max() >= len(self)):
            raise ValueError(
                f"labels {labels.min()} .. {labels.max()} do not fit {self.source}, "
                f"which has labels 0 .. {len(self) - 1}"
            )
        return labels.astype(np.int64) + N_SPECIALS

    def to_symbols(self, model_ids: Iterable[int]) -> list[str]:
        """Symbols of model ids, specials and `<mask>` included."""
        names = (*SPECIALS, *self.symbols, MASK)
        return [names[int(i)] for i in model_ids]

    def check_same(self, other: UnitVocabulary) -> None:
        """Make sure that another vocabulary (of the data, of a model) is the same as this one.

        Raises:
            ValueError: they differ, or are clusters of two clusterings; the message names both
                sources.
        """
        if self.symbols == other.symbols:
            if None not in (self.origin, other.origin) and self.origin != other.origin:
                raise ValueError(
                    f"the units of {self.source} and {other.source} are clusters of two "
                    f"clusterings ({self.origin} and {other.origin}), which have nothing in common "
                    "but their numbers: label both with one k-means model (apply_kmeans)"
                )
            return
        pairs = enumerate(zip(self.symbols, other.symbols, strict=False))
        shorter = min(len(self), len(other))
        n = next((n for n, (ours, theirs) in pairs if ours != theirs), shorter)
        names = [v.symbols[n] if n < len(v) else "nothing" for v in (self, other)]
        raise ValueError(
            f"the units of {self.source} ({len(self)}) and {other.source} ({len(other)}) differ: "
            f"label {n} is {names[0]} in the first and {names[1]} in the second. Make the labels "
            "again with the tokenizer that the model was trained with, or choose the matching model"
        )


class CharacterVocabulary:
    """The characters of transcripts: `|` (word end) and the letters of the process's language.

    In English 33 ids: 4 specials, the 28 characters of the released `dict.ltr.txt` in its order
    (`|`, A-Z by frequency, apostrophe), `<mask>`.
    """

    bos, pad, eos, unk, blank = BOS, PAD, EOS, UNK, BLANK
    characters = f"|{LANGUAGE.letters}"
    word_end = N_SPECIALS
    mask = N_SPECIALS + len(characters)
    n_ids = mask + 1
    symbols = (*SPECIALS, *characters, MASK)

    def __init__(self) -> None:
        # The last entry stands for all code points that are above those of the letters.
        self.table = np.full(max(256, max(map(ord, self.characters)) + 2), -1, np.int64)
        """Id of each code point of a sentence, a space counting as `|`; -1: not allowed."""
        for symbol_id, character in enumerate(self.characters, N_SPECIALS):
            self.table[ord(character)] = symbol_id
        self.table[ord("|")] = -1
        self.table[ord(" ")] = self.word_end

    @classmethod
    def check_same(cls, symbols: Sequence[str], source: object) -> None:
        """Make sure that the symbols of a trained CTC head, by id, are these.

        Args:
            symbols: of the model.
            source: the file that names them.

        Raises:
            ValueError: the model writes others.
        """
        if tuple(symbols) != cls.symbols:
            raise ValueError(
                f"{source}: the {len(cls.symbols)} characters {' '.join(cls.symbols)} "
                f"expected, those of {LANGUAGE.source}; found {len(symbols)}: "
                f"{' '.join(symbols[:40])}. For a model of another language {FILE_VARIABLE} in the "
                "environment must name its file (data/language.json of its recipe)"
            )

    def encode(self, sentence: str) -> np.ndarray:
        """Ids of a sentence, int64: words separated and the last one ended by `|`; no `</s>`.

        Raises:
            ValueError: characters other than the language's letters and space.
        """
        sentence = " ".join(sentence.split())
        if not sentence:
            return np.zeros(0, np.int64)
        ids = look_up(self.table, f"{sentence} ")
        if (ids < 0).any():
            bad = sorted({c for c in sentence if look_up(self.table, c)[0] < 0})
            raise ValueError(
                f"characters {' '.join(map(repr, bad))} in {sentence[:80]!r}: only "
                f"{LANGUAGE.described}, and spaces are allowed; normalise the text first"
            )
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Sentence of ids (repeats kept; specials and `<mask>` skipped, `|` -> space)."""
        names = self.symbols
        letters = (names[int(i)] for i in ids if N_SPECIALS <= int(i) < self.mask)
        return " ".join("".join(letters).replace("|", " ").split())


def look_up(table: np.ndarray, text: str) -> np.ndarray:
    """Entries of a table of code points (`CharacterVocabulary.table`) for a text: int64 (len,)."""
    if text.isascii():
        return table[np.frombuffer(text.encode("ascii"), np.uint8)]
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return table[np.minimum(codes, len(table) - 1)]
