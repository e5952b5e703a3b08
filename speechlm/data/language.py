"""The language of a process: which letters its transcripts have, and which phones its words.

English is built in, with LibriSpeech's letters and ARPAbet, as in the paper. A recipe in another
language has a file of its own, which stage 1 makes (`make_language`) and of which the environment
variable SPEECHLM_LANGUAGE tells every program of the later stages. Vocabularies, classes of the
recogniser and tables of the tokenizers follow from it when they are imported, so that a process is
in one language.

    {"language": "de", "letters": "enisratdh..", "phones": ["a", "aː", "aɪ", ..]}
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from speechlm.data.whole_files import DamagedFile, damage
from speechlm.data.written import ZERO_WIDTH, base_language, is_letter, lower

FILE_VARIABLE = "SPEECHLM_LANGUAGE"
"""Environment variable that names the file of the language; without it: English."""
VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG"),
    *("P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
STRESSES = ("0", "1", "2")
APOSTROPHE = "'"
_WITHOUT_SPACES = {
    **{"zh": "Chinese", "cmn": "Chinese", "yue": "Cantonese", "hak": "Hakka", "nan": "Min Nan"},
    **{
        "ja": "Japanese",
        "th": "Thai",
        "lo": "Lao",
        "km": "Khmer",
        "my": "Burmese",
        "bo": "Tibetan",
    },
    **{"dz": "Dzongkha", "shn": "Shan", "wuu": "Wu Chinese", "ii": "Nuosu"},
}
_INSIDE = {"ca": "\u00b7", "he": "\u05f3\u05f4", "yi": "\u05f3\u05f4"}
"""What else stays inside words: Catalan's dot, Hebrew's geresh and gershayim."""
_ENGLISH_WORD = re.compile(r"'*[A-Z][A-Z']*")


@dataclass(frozen=True)
class Language:
    """What the words of a language are made of."""

    code: str
    """Such as `de` or `pt-BR`."""
    letters: str = ""
    """Characters of words, the most frequent first. Empty: not known yet, any letter will do."""
    phones: tuple[str, ...] = ()
    """Without stress and word position."""
    stressed: tuple[str, ...] = ()
    """Those of the phones whose pronunciations have a stress digit."""
    source: str = "the built-in English"

    @property
    def is_english(self) -> bool:
        """Whether it is the built-in English, in capital letters and ARPAbet."""
        return base_language(self.code) == "en"

    @property
    def joiners(self) -> str:
        """What stays inside words, between letters."""
        return APOSTROPHE + ZERO_WIDTH + _INSIDE.get(base_language(self.code), "")

    @property
    def described(self) -> str:
        """Its letters, for messages."""
        if self.is_english:
            return "A-Z and the apostrophe"
        if not self.letters:
            return "small letters and the apostrophe"
        return f"the {len(self.letters)} letters of {self.source}: {''.join(sorted(self.letters))}"

    def cased(self, text: str) -> str:
        """A text in the case of transcripts: capitals in English, small letters elsewhere."""
        return text.upper() if self.is_english else lower(text, self.code)

    def is_word(self, text: str) -> bool:
        """Whether it is made of the language's letters, at least one that is no apostrophe."""
        if self.is_english:
            return _ENGLISH_WORD.fullmatch(text) is not None
        if not text.strip(APOSTROPHE):
            return False
        if self.letters:
            return set(text) <= set(self.letters)
        return self.cased(text) == text and all(c in self.joiners or is_letter(c) for c in text)


ENGLISH = Language(
    "en", "ETAONIHSRDLUMCWFGYPBVK'XJQZ", tuple(sorted(VOWELS + CONSONANTS)), stressed=VOWELS
)
"""The letters in the order of the released `dict.ltr.txt`."""


def check_spaces(code: str) -> None:
    """Refuse a language whose words are not separated.

    Raises:
        ValueError: the language is written without spaces between words.
    """
    name = _WITHOUT_SPACES.get(base_language(code))
    if name is not None:
        raise ValueError(
            f"--language {code}: {name} is written without spaces between words, and everything "
            "here is made of words: lexicon, language models, error rates. Languages with spaces "
            "will do; a text that a segmenter has cut into words would need a code and a "
            "pronouncing lexicon of its own"
        )


def read_language(path: str | os.PathLike[str]) -> Language:
    """Read the file of a language.

    Raises:
        ValueError: it is missing, damaged, or lacks something.
    """
    remake = "make it again: stage 1 of the recipe, or make_language"
    if wrong := damage(path):
        raise DamagedFile(f"{path} {wrong}; the file of a language expected: {remake}")
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        code, letters, phones = values["language"], values["letters"], values["phones"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFile(f"{path} is no file of a language ({error}); {remake}") from None
    if problem := language_problem(code, letters, phones):
        raise ValueError(f"{path} is no file of a language: {problem}; {remake}")
    return Language(code, letters, tuple(phones), source=str(path))


def language_problem(code: object, letters: object, phones: object) -> str:
    """What is wrong with the values of a language's file; empty if nothing is."""
    if not isinstance(code, str) or not code or base_language(code) == "en":
        return f"a code of a language other than English expected, found {code!r}"
    if not isinstance(letters, str) or not letters or len(set(letters)) != len(letters):
        return "letters expected, each once"
    if any(c in "|<>#" or c.isspace() or unicodedata.category(c) in ("Cc", "Cs") for c in letters):
        return "letters cannot be | < > #, blanks or control characters"
    if not isinstance(phones, list) or not phones or not all(isinstance(p, str) for p in phones):
        return "a list of phones expected"
    bad = [
        p
        for p in phones
        if not p or re.search(r"[\s_#<>0-9\x00-\x1f\ud800-\udfff]", p) or p in ("SIL", "SPN")
    ]
    if bad or len(set(phones)) != len(phones):
        return f"phones without blanks, digits, _ # < > expected, each once; found {bad[:5]}"
    return ""


def _of_process() -> Language:
    """The language that the environment names."""
    path = os.environ.get(FILE_VARIABLE)
    return read_language(path) if path else ENGLISH


LANGUAGE = _of_process()
"""That of this process."""


def chosen(code: str) -> Language:
    """The process's language if the code is its own (or empty), else one of any letters.

    Raises:
        ValueError: the language is written without spaces between words.
    """
    if not code or code == LANGUAGE.code:
        return LANGUAGE
    if base_language(code) == "en":
        return ENGLISH
    check_spaces(code)
    return Language(code, source=f"the language {code}")
