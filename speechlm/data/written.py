"""How written sentences become words: case by language, punctuation, joiners, doubled quotes."""

from __future__ import annotations

import functools
import re
import unicodedata

from speechlm.data.unspoken import MARKS

_TURKIC = {"tr", "tur", "az", "aze", "azj", "crh", "gag"}
"""Languages in which I is the capital of dotless i, and dotted I that of i."""
_APOSTROPHES = re.compile(r"[’ʼ＇]|(?<=\w)[‘`´](?=\w)")
ZERO_WIDTH = "\u200c\u200d"
"""Zero-width non-joiner and joiner: parts of words in Persian, Hindi and others."""
JOINERS = f"'-{ZERO_WIDTH}\u00b7\u05f3\u05f4\u0f0b"
"""What stays inside words: also Catalan's dot, Hebrew's geresh, the dot between Tibetan syllables.
"""


def lower(text: str, language: str = "") -> str:
    """Lower case; Turkish and its relatives have a dotless i, for which the language is needed.

    Args:
        text: in any case.
        language: code of its language: tr, az, pt-BR, zh_CN; may be empty.
    """
    if _is_turkic(language):
        text = text.replace("I\u0307", "i").replace("I", "ı")
    # By Unicode's table a dotted I becomes two characters, i and another dot.
    return text.replace("İ", "i").lower()


def upper(text: str, language: str = "") -> str:
    """Upper case, see `lower`."""
    return (text.replace("i", "İ") if _is_turkic(language) else text).upper()


def words_of(text: str, joiners: str = JOINERS, letters: str = "") -> str:
    """Words with single spaces: letters, combining marks, digits, and joiners inside words.

    All else separates words, except for what has no width (soft hyphens, marks of direction),
    which is left out, and points and commas inside numbers, which stay.

    Args:
        text: in any language.
        joiners: characters that stay between two letters or digits.
        letters: characters that stay everywhere.
    """
    kept = []
    for place, character in enumerate(text):
        stays = character in letters or is_letter(character)
        if not stays and 0 < place < len(text) - 1:
            stays = _joins(text[place - 1 : place + 2], joiners)
        if stays:
            kept.append(character)
        elif unicodedata.category(character) != "Cf":
            kept.append(" ")
    return " ".join(word for word in "".join(kept).split() if any(map(is_letter, word)))


def normal_apostrophes(text: str) -> str:
    """ASCII's apostrophe for the typographic one and for accents that stand for one."""
    return _APOSTROPHES.sub("'", text)


def without_symbols(text: str) -> str:
    """Blanks for trade marks, accents that stand alone (¨) and frames: NFKC makes letters of them.

    Args:
        text: with `normal_apostrophes`.
    """
    if not any(map(_is_symbol, text)):
        return text
    return "".join(" " if _is_symbol(c) else c for c in text)


@functools.lru_cache(1 << 14)
def _is_symbol(character: str) -> bool:
    return character in "™℠" or unicodedata.category(character) in ("Sk", "Me")


def single_quotes(text: str) -> str:
    """Undo the quoting of tables with commas: `"He said ""no""."` and `He said ""no"".`.

    The quotes around the whole are dropped if all those inside are doubled.
    """
    inner = text[1:-1]
    if text[:1] == text[-1:] == '"' and '""' in inner and '"' not in inner.replace('""', ""):
        text = inner
    return text.replace('""', '"')


def base_language(code: str) -> str:
    """A language's code without its region or script: `pt-BR` -> `pt`."""
    return re.split("[-_]", code.lower())[0]


def _is_turkic(language: str) -> bool:
    return base_language(language) in _TURKIC


def is_letter(character: str) -> bool:
    """Whether it is a letter, a combining mark, a digit, or a mark of `unspoken`."""
    if "\ufe00" <= character <= "\ufe0f":  # choose how an emoji is drawn
        return False
    return character in MARKS or unicodedata.category(character)[0] in "LMN"


def _joins(three: str, joiners: str) -> bool:
    """Whether the second of three characters joins the others."""
    if three[1] in ".,":
        return three[0].isdecimal() and three[2].isdecimal()
    return three[1] in joiners and is_letter(three[0]) and is_letter(three[2])
