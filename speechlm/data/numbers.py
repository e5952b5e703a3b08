"""Numbers to English words, in the style of LibriSpeech's transcripts: no `and`, no hyphens."""

from __future__ import annotations

import functools
import math
import re

from speechlm.data.unspoken import NUMBER

INTEGER = r"(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d\d)+,\d{3}|\d+)"
"""Whole numbers, in groups of three digits or of two as in India, or without."""
AMOUNT = rf"(?:(?:\d+[ -])?\d{{1,3}}/\d{{1,4}}|(?:{INTEGER})?\.\d+|{INTEGER})"
"""Mixed fractions such as `2 1/2`, decimals, whole numbers; see `amount`."""
BEFORE = r"(?<![\w.,:/$£€¥₹°#@&+^])(?<![^A-Za-z]-)"
"""Where a number may start: not inside a longer one, but after the hyphen of a word."""
AFTER = r"(?![\w%°$£€¥₹^]|[.,:/']\d|-\d)"
"""Where a number may end."""
_MAX_DIGITS = 15  # longer runs of digits are spelled out
_PARTS = {*range(2, 11), 12, 16, 20, 32, 64, 100, 1000}  # bottoms of fractions that are spoken


@functools.lru_cache(4096)
def cardinal(number: int) -> str:
    """`2041` -> `two thousand forty one`."""
    if number >= 10**_MAX_DIGITS:
        return spelled(str(number))
    return _plain(_engine().number_to_words(number, andword="", comma=""))


@functools.lru_cache(4096)
def ordinal(number: int) -> str:
    """`22` -> `twenty second`."""
    return _plain(_engine().number_to_words(_engine().ordinal(number), andword="", comma=""))


def year(number: int) -> str:
    """`1792` -> `seventeen ninety two`, `1803` -> `eighteen o three`, `1900`, `2004`."""
    century, rest = divmod(number, 100)
    if century % 10 == 0:
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'o ' if rest < 10 else ''}{cardinal(rest)}"


def spelled(digits: str) -> str:
    """`0471` -> `o four seven one`."""
    return " ".join("o" if int(d) == 0 else cardinal(int(d)) for d in digits)


def integer(digits: str) -> str:
    """`1,234` -> `one thousand two hundred thirty four`; with a leading zero digit by digit."""
    digits = digits.replace(",", "")
    if len(digits) > 1 and digits[0] == "0":
        return spelled(digits)
    return cardinal(int(digits))


def amount(text: str) -> str:
    """What `AMOUNT` matches, or two of these with a hyphen between them: `3.5`, `2 1/2`, `5-10`."""
    if re.fullmatch(AMOUNT, text) is None:
        return " to ".join(amount(part) for part in text.split("-"))
    if "/" in text:
        *whole, part = re.split("[ -]", text)
        top, bottom = map(int, part.split("/"))
        return fraction(top, bottom, int(whole[0]) if whole else None)
    if "." in text:
        whole_part, _, decimals = text.partition(".")
        return f"{integer(whole_part) if whole_part else ''} point {spelled(decimals)}".strip()
    return integer(text)


def fraction(top: int, bottom: int, whole: int | None = None) -> str:
    """`3/4` -> `three quarters`; a mark where it is hardly a fraction, as in 24/7, 12/11, 4/8."""
    if bottom not in _PARTS or not 0 < top < bottom or math.gcd(top, bottom) > 1:
        return NUMBER
    name = {2: "half", 4: "quarter"}.get(bottom) or ordinal(bottom)
    plural = {"half": "halves"}.get(name, name + "s")
    words = f"{cardinal(top)} {name if top == 1 else plural}"
    return f"{cardinal(whole)} and {words}" if whole is not None else words


def is_one(text: str) -> bool:
    """Whether what is counted with an amount is in the singular: 1, 1/2."""
    return text == "1" or re.fullmatch(r"\d+/\d+", text) is not None


@functools.cache
def _engine():
    import inflect  # takes a third of a second to import

    return inflect.engine()


def _plain(words: str) -> str:
    return words.replace("-", " ").replace(",", "")
