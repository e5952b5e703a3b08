"""Numbers in running English text to words, in the style of LibriSpeech's transcripts."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

_MONTHS = (
    "January|February|March|April|May|June|July|August|September|October|November|December"
    "|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec"
)
_MONEY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_FRACTIONS = {"½": "one half", "¼": "one quarter", "¾": "three quarters", "⅓": "one third"}
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_SECTIONS = (
    "chapter|book|volume|vol|part|act|scene|canto|section|stanza|letter|verse|number|stave"
    "|epoch|article|class|type|figure|plate|table|appendix|psalm|war"
)
_CHAPTER = re.compile("(?i:chapter|volume|vol|canto|appendix)$")
_RULERS = (
    "Henry|Louis|Charles|George|James|Edward|Richard|William|Philip|Pius|Leo|Gregory|Napoleon"
    "|Alexander|Clement|Innocent|Urban|John|Paul|Frederick|Ferdinand|Francis|Benedict|Boniface"
    "|Nicholas|Peter|Catherine|Elizabeth|Mary|Gustavus|Christian|Otto|Ptolemy|Sixtus|Robert"
)
_DIGIT = re.compile(r"[\d½¼¾⅓]")
_NUMERAL = re.compile(r"\b[IVXLCDM]+\b")
_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
_MAX_DIGITS = 15  # longer runs of digits are spelled out


def numbers_to_words(text: str) -> str:
    """Spell all numbers of a text: years in pairs, ordinals, money, times, fractions, romans."""
    if _DIGIT.search(text):
        for pattern, replace in _digit_rules():
            text = pattern.sub(replace, text)
    if _NUMERAL.search(text):
        for pattern, replace in _roman_rules():
            text = pattern.sub(replace, text)
    return text


def cardinal(number: int) -> str:
    """`2041` -> `two thousand forty one`."""
    if number >= 10**_MAX_DIGITS:
        return spelled(str(number))
    return _plain(_engine().number_to_words(number, andword="", comma=""))


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
    return " ".join("o" if d == "0" else cardinal(int(d)) for d in digits)


def roman(numeral: str) -> int | None:
    """Value of a well-formed upper-case numeral, None for anything else."""
    if not numeral or not _ROMAN.fullmatch(numeral):
        return None
    values = [_ROMAN_VALUES[c] for c in numeral]
    following = [*values[1:], 0]
    return sum(-v if v < f else v for v, f in zip(values, following, strict=True))


@functools.cache
def _engine():
    import inflect  # takes a third of a second to import

    return inflect.engine()


def _plain(words: str) -> str:
    return words.replace("-", " ").replace(",", "")


def _integer(digits: str) -> str:
    digits = digits.replace(",", "")
    if len(digits) > 1 and digits[0] == "0":
        return spelled(digits)
    return cardinal(int(digits))


def _money(match: re.Match[str]) -> str:
    whole, part = match[2].replace(",", ""), match[3]
    unit, small = _MONEY[match[1]]
    scale = match[4] or ""
    words = []
    if int(whole or 0) or not part:
        amount = int(whole or 0)
        words.append(f"{cardinal(amount)}{scale} {unit}{'' if amount == 1 and not scale else 's'}")
    if part and int(part):
        cents = int(part.ljust(2, "0"))
        plural = {"penny": "pence"}.get(small, small + "s")
        words.append(f"{cardinal(cents)} {small if cents == 1 else plural}")
    return " " + " and ".join(words) + " "


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    if minute == 0:
        return f"{cardinal(hour)} o'clock"
    return f"{cardinal(hour)} {'o ' if minute < 10 else ''}{cardinal(minute)}"


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom = match[1], int(match[2]), int(match[3])
    if bottom in (0, 1):
        return f"{whole or ''} {cardinal(top)} over {cardinal(bottom)}"
    name = {2: "half", 4: "quarter"}.get(bottom) or ordinal(bottom)
    plural = {"half": "halves"}.get(name, name + "s")
    words = f"{cardinal(top)} {name if top == 1 else plural}"
    return f"{cardinal(int(whole))} and {words}" if whole else words


def _decade(match: re.Match[str]) -> str:
    number = int(match[2])
    if match[1] and number < 100:
        tens = cardinal(number)
    elif number % 100 == 0:
        tens = year(number)
    else:
        century = f"{cardinal(number // 100)} " if number > 99 else ""
        tens = century + cardinal(number % 100)
    return (tens[:-1] + "ies" if tens.endswith("y") else tens + "s") + " "


def _decimal(match: re.Match[str]) -> str:
    return f"{_integer(match[1] or '0')} point {spelled(match[2])}"


def _four_digits(match: re.Match[str]) -> str:
    number = int(match[0])
    return year(number) if 1100 <= number < 2100 else _integer(match[0])


def _section_roman(match: re.Match[str]) -> str:
    """`Chapter I`, `Part IV`; but `the part I played` and `class C` stay as they are."""
    value = roman(match[2])
    after = match.string[match.end() : match.end() + 2]
    pronoun = match[2] == "I" and re.match(r"\s\w", after) and not _CHAPTER.match(match[1])
    if value is None or pronoun or match[2] in "LCDM":
        return match[0]
    return f"{match[1]} {cardinal(value)}"


def _ruler_roman(match: re.Match[str]) -> str:
    value = roman(match[2])
    return match[0] if value is None else f"{match[1]} the {ordinal(value)}"


def _lone_roman(match: re.Match[str]) -> str:
    """Two or more letters; years like MCMIX; never words such as MIX, DI or LI."""
    value = roman(match[0])
    if value is None or match[0] in ("MIX", "DI", "LI", "CD", "DC", "MD", "MC", "CC", "MM"):
        return match[0]
    return year(value) if value >= 1100 else cardinal(value)


@functools.cache
def _digit_rules() -> list[_Rule]:
    number = r"\d{1,3}(?:,\d{3})+|\d+"
    return [
        (re.compile("|".join(_FRACTIONS)), lambda m: f" {_FRACTIONS[m[0]]} "),
        (
            re.compile(
                rf"([$£€])\s?({number}|(?=\.\d))(?:\.(\d\d?))?(\s(?:hundred|thousand|million))?\b"
            ),
            _money,
        ),
        (re.compile(r"\b(\d\d?):([0-5]\d)\b"), _clock),
        (re.compile(r"\b(\d+)(?:st|nd|rd|th|d)\b", re.I), lambda m: ordinal(int(m[1]))),
        (re.compile(r"(')?(?<!\d)\b(\d\d|\d{4})(?:'?s)\b"), _decade),
        (re.compile(r"(?:^|(?<=\s))'(\d\d)\b"), lambda m: cardinal(int(m[1]))),
        (re.compile(r"(?:\b(\d+)[\s-])?\b(\d+)/(\d+)\b"), _fraction),
        (
            re.compile(rf"\b({_MONTHS})\.?\s+(\d\d?)\b(?![:/])"),
            lambda m: f"{m[1]} {ordinal(int(m[2]))}",
        ),
        (re.compile(rf"({number})?\.(\d+)\b"), _decimal),
        (re.compile(r"(?<=\d)\s?%"), " per cent"),
        (re.compile(r"(?<![\d,])\b\d{4}\b(?!,\d{3})"), _four_digits),
        (re.compile(number), lambda m: f" {_integer(m[0])} "),
    ]


@functools.cache
def _roman_rules() -> list[_Rule]:
    romans = r"[IVXLCDM]+"
    return [
        (re.compile(rf"\b((?i:{_SECTIONS}))\.?\s+({romans})\b(?!')"), _section_roman),
        (re.compile(rf"\b({_RULERS})\s+([IVX]{{2,}}|[VX](?!\.\s[A-Z]))\b(?!')"), _ruler_roman),
        (re.compile(rf"\b(?=[IVXLCDM]{{2}}){romans}\b"), _lone_roman),
    ]
