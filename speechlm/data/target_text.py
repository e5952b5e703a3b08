"""Target side of translation: how sentences are written, and their sentencepiece vocabulary.

A vocabulary is a folder with spm.model, tokens.txt (one piece a line, the line number from 0 is
the id), and vocabulary.json (how it was made). Ids 0 to 3 are <s>, <pad>, </s> and <unk>, as in
all vocabularies here.
"""

from __future__ import annotations

import functools
import io
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sentencepiece

from speechlm.conventions import BOS, EOS, PAD, SPECIALS, UNK
from speechlm.data.atomic import output_dir
from speechlm.data.vocabulary import write_tokens
from speechlm.data.whole_files import read_json, read_lines, reading
from speechlm.data.written import ZERO_WIDTH, lower, normal_apostrophes, words_of

if TYPE_CHECKING:
    from sacremoses import MosesPunctNormalizer

STYLES = ("cased", "lower", "moses")
KINDS = ("char", "bpe")
RESERVED = "\u2581\u2585"
"""Characters that sentencepiece cannot write: it stores blanks and unknown ones as these.

The first would come back as a blank; a sentence with the second is not trained on.
"""
MODEL, TOKENS, DESCRIPTION = "spm.model", "tokens.txt", "vocabulary.json"


def write_as(sentence: str, style: str, language: str = "") -> str:
    """A sentence in a style.

    Args:
        sentence: with case and punctuation.
        style: `cased`: as it is; `lower`: lower case without punctuation, except for apostrophes,
            hyphens and zero-width joiners inside words, with dashes separating words; `moses`: as
            it is, but with punctuation as Moses' scripts normalize it (the paper's: quotes, dashes
            and dots of ASCII, no control characters).
        language: code of its language, which `moses` needs, and by which `lower` knows Turkish's
            letters.

    Raises:
        ValueError: there is no such style.
    """
    if style not in STYLES:
        raise ValueError(f"a style of {' '.join(STYLES)} expected, got {style!r}")
    if style == "cased":
        return " ".join(sentence.split())
    if style == "moses":
        return _with_plain_punctuation(sentence, language)
    return words_of(lower(normal_apostrophes(sentence), language))


@functools.lru_cache(maxsize=1 << 19)  # 0.2 ms a sentence; a training sees each many times
def _with_plain_punctuation(sentence: str, language: str) -> str:
    return " ".join(_punctuation(language).normalize(sentence).split())


@functools.cache
def _punctuation(language: str) -> MosesPunctNormalizer:
    from sacremoses import MosesPunctNormalizer  # takes a second

    return MosesPunctNormalizer(
        language, pre_replace_unicode_punct=True, post_remove_control_chars=True
    )


@dataclass(frozen=True)
class VocabularyOptions:
    """How to make a vocabulary."""

    kind: str = "char"
    """char (the paper's) or bpe."""
    size: int = 1000
    """Pieces of a BPE vocabulary, the four special ids included; unused for char."""
    style: str = "cased"
    """How sentences are written, see `write_as`."""
    language: str = ""
    """Code of their language."""

    def __post_init__(self) -> None:
        for name, choices in (("kind", KINDS), ("style", STYLES)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}: one of {' '.join(choices)} expected, got {getattr(self, name)!r}"
                )
        if self.style == "moses" and not self.language:
            raise ValueError(
                "the style moses needs the code of the sentences' language (--language)"
            )
        if self.size <= len(SPECIALS):
            raise ValueError(f"size: more than {len(SPECIALS)} pieces expected, got {self.size}")

    def write(self, sentence: str) -> str:
        """A sentence in the vocabulary's style."""
        return write_as(sentence, self.style, self.language)

    @property
    def normalization(self) -> str:
        """Sentencepiece's rule for text: its default goes with `moses`, as in the paper."""
        return "nmt_nfkc" if self.style == "moses" else "identity"


@dataclass
class Coverage:
    """What a vocabulary lacks of some sentences."""

    characters: int = 0
    """Characters without blanks."""
    unknown: Counter = field(default_factory=Counter)
    """Characters that are not covered, with counts."""
    sentences: dict[str, str] = field(default_factory=dict)
    """Those that have one, by id."""

    @property
    def share(self) -> float:
        """Share of characters that are not covered."""
        return sum(self.unknown.values()) / max(1, self.characters)

    def summary(self) -> str:
        """One line with the most frequent missing characters."""
        if not self.unknown:
            return "all characters are covered"
        shown = " ".join(f"{c} (U+{ord(c):04X}) x{n}" for c, n in self.unknown.most_common(10))
        return (
            f"{len(self.unknown)} characters are not covered ({self.share:.3%} of all), in "
            f"{len(self.sentences)} sentences; the most frequent: {shown}"
        )


class TargetVocabulary:
    """Sentences to ids and back."""

    def __init__(self, model: bytes, options: VocabularyOptions, source: str) -> None:
        self.model, self.options, self.source = model, options, source
        self._spm = sentencepiece.SentencePieceProcessor()
        try:
            self._spm.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise ValueError(f"{source} is no sentencepiece model ({error})") from None
        self.tokens = tuple(self._spm.id_to_piece(i) for i in range(self._spm.get_piece_size()))
        if self.tokens[: len(SPECIALS)] != SPECIALS:
            raise ValueError(
                f"{source}: ids 0 to 3 must be {' '.join(SPECIALS)}, found "
                f"{' '.join(self.tokens[: len(SPECIALS)])}"
            )

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, sentence: str) -> np.ndarray:
        """(U,) int64 ids of a sentence, which is first written in the vocabulary's style; EOS."""
        # no vocabulary has the second of the reserved characters: both become UNK
        plain = re.sub(f"[{RESERVED}]", RESERVED[1], self.options.write(sentence))
        return np.array([*self._spm.encode(plain), EOS], np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """The sentence of some ids, with single spaces; special ids are left out."""
        pieces = [int(i) for i in ids if int(i) >= len(SPECIALS)]
        return " ".join(self._spm.decode(pieces).split())

    def coverage(self, sentences: Mapping[str, str]) -> Coverage:
        """What is missing to write the sentences: what `encode` makes unknown, no more, no less."""
        found = Coverage()
        covered: dict[str, bool] = {}
        for name, sentence in sentences.items():
            plain = self.options.write(sentence).replace(" ", "")
            found.characters += len(plain)
            for character in plain:
                if character not in covered:
                    known = UNK not in self._spm.encode(character)
                    covered[character] = known and character not in RESERVED
            missing = [character for character in plain if not covered[character]]
            if missing:
                found.unknown.update(missing)
                found.sentences[name] = sentence
        return found

    def check_coverage(self, sentences: Mapping[str, str], name: str, most: float) -> Coverage:
        """As `coverage`.

        Raises:
            ValueError: the share of missing characters is above `most`.
        """
        found = self.coverage(sentences)
        if found.share > most:
            raise ValueError(
                f"the vocabulary {self.source} does not cover {name}: {found.summary()}; first "
                f"sentence: {next(iter(found.sentences))}. Is it of the same language and style? "
                f"Allowed is a share of {most:g} (--max_unknown_share)"
            )
        return found

    def write(self, folder: str | os.PathLike[str], coverage: Mapping[str, Coverage]) -> None:
        """Write the folder; `coverage`: by name of the text, to be listed in coverage.tsv."""
        with output_dir(folder) as path:
            (path / MODEL).write_bytes(self.model)
            write_tokens(path / TOKENS, self.tokens)
            values = {**asdict(self.options), "n_tokens": len(self)}
            (path / DESCRIPTION).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
            lines = [f"# {name}: {found.summary()}" for name, found in coverage.items()]
            lines += [
                f"{name}\t{utterance}\t{sentence}"
                for name, found in coverage.items()
                for utterance, sentence in found.sentences.items()
            ]
            text = "".join(f"{line}\n" for line in lines)
            (path / "coverage.tsv").write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> TargetVocabulary:
        """Read what `write` wrote.

        Raises:
            ValueError: files are missing, damaged, or do not belong together.
        """
        path = Path(folder)
        advice = "train_vocabulary makes it"
        values = read_json(path / DESCRIPTION, "description of a vocabulary", advice)
        with reading(path / DESCRIPTION, "description of a vocabulary", advice):
            options = VocabularyOptions(
                *(values[name] for name in ("kind", "size", "style", "language"))
            )
        with reading(path / MODEL, "sentencepiece model", advice):
            found = cls((path / MODEL).read_bytes(), options, str(path))
        tokens = read_lines(path / TOKENS, "pieces", advice)
        if tuple(tokens) != found.tokens:
            raise ValueError(f"{path / TOKENS} does not belong to {path / MODEL}")
        return found


def train_vocabulary(
    sentences: Sequence[str], options: VocabularyOptions, source: str
) -> TargetVocabulary:
    """Train on sentences, which are first written in the style of the options.

    A character vocabulary has every character of the sentences but those that sentencepiece keeps
    for itself (`RESERVED`). Text is not normalised further, except in the style `moses`, so that
    decoding gives the sentences back as they are written.

    Args:
        sentences: of the training side only.
        options: kind, size, style.
        source: name of the text, for messages.

    Raises:
        ValueError: there is no text, or too little for the size of a BPE vocabulary.
    """
    lost = sum(any(c in sentence for c in ZERO_WIDTH) for sentence in sentences)
    if lost and options.style == "moses":
        logging.warning(
            "%s: %d sentences have zero-width joiners, which the style moses leaves out; cased and "
            "lower keep them (--style)",
            source,
            lost,
        )
    written = [text for s in sentences if (text := _for_training(options.write(s)))]
    if not written:
        raise ValueError(f"{source}: sentences expected to train a vocabulary, there are none")
    rule = sentencepiece.SentencePieceNormalizer(rule_name=options.normalization)
    characters = {c for sentence in written for c in rule.normalize(sentence)} | {" "}
    least = len(characters) + len(SPECIALS)
    size = least if options.kind == "char" else options.size
    if size < least:
        raise ValueError(
            f"{source} has {len(characters)} characters: a size of {least} or more "
            f"is needed, got {size}"
        )
    try:
        model = _train(written, options, size)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1][:300]
        raise ValueError(
            f"{source}: no vocabulary of {size} pieces can be made: {reason}"
        ) from None
    return TargetVocabulary(model, options, f"made of {source}")


def _train(sentences: Sequence[str], options: VocabularyOptions, size: int) -> bytes:
    """A sentencepiece model of so many pieces.

    Raises:
        RuntimeError: there cannot be so many.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type=options.kind,
        vocab_size=size,
        character_coverage=1.0,
        normalization_rule_name=options.normalization,
        bos_id=BOS,
        pad_id=PAD,
        eos_id=EOS,
        unk_id=UNK,
        num_threads=1,
        max_sentence_length=1 << 20,
        hard_vocab_limit=options.kind == "bpe",
        minloglevel=2,
    )
    return model.getvalue()


def _for_training(text: str) -> str:
    """A text that sentencepiece learns from as a whole.

    It would skip a sentence with a character of `RESERVED`, and the characters of `<s>` and the
    other special ids, which are text like any other here.
    """
    text = re.sub(f"[{RESERVED}]", " ", text)
    text = re.sub("|".join(SPECIALS), lambda match: " ".join(match[0]), text)
    return " ".join(text.split())
