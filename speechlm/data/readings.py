"""Numbers in running English text to words, in the style of LibriSpeech's transcripts.

A number is read where one of the rules takes the whole of it; what none of them takes becomes a
mark of `unspoken`, so that its sentence is left out. In their order: telephone numbers, dates and
times, money and measures, ordinals, decades, ranges, versions, fractions, years, other numbers.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from speechlm.data.dates import DATES, DECADES, four_digits
from speechlm.data.measures import MEASURES, SPANS
from speechlm.data.numbers import (
    AFTER,
    AMOUNT,
    BEFORE,
    INTEGER,
    amount,
    cardinal,
    fraction,
    integer,
    ordinal,
    spelled,
)
from speechlm.data.romans import romans_to_words
from speechlm.data.rules import Rule, rewrite
from speechlm.data.unspoken import NUMBER

_VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
_SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_SIGNS = re.compile(r"[\d$£€¥₹¢%°±×÷+=<>§#≈≤≥]")
_ABBREVIATED = {
    **{"p": "page", "pp": "pages", "ch": "chapter", "fig": "figure", "figs": "figures"},
    **{"vol": "volume", "vols": "volumes"},
    **{"bk": "book", "bks": "books", "chs": "chapters", "op": "opus", "sec": "section"},
}
_CODES = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "Rs": "₹"}
_OTHER_CODES = "AUD|CAD|NZD|HKD|SGD|CHF|CNY|RMB|SEK|NOK|DKK|RUB|KRW|BRL|MXN|ZAR|PLN|CZK|HUF|THB"
_TO_BE = "is|are|was|were|be|been|being"
_COMPARED = {"<": "less than", ">": "greater than", "≤": "at most", "≥": "at least"}
_CONSONANT = "[b-df-hj-np-tv-xz]"
_PAIRS = {"24/7": "twenty four seven", "50/50": "fifty fifty", "9/11": "nine eleven"}


def plain_digits(text: str) -> str:
    """Write numbers with ASCII signs: `3½` -> `3 1/2`, `1914–18` -> `1914-18`, `m²` -> `m2`.

    To be done before Unicode's compatible forms are, which would make 31/2 of `3½`.
    """
    text = SPANS[0].sub(SPANS[1], text)
    if text.isascii():
        return text
    text = re.sub(r"(?<=\d)[\u00a0\u2007-\u2009\u202f’٬](?=\d{3}(?!\d))", ",", text)
    text = re.sub(r"(?<=\d)[·‧⋅∙٫](?=\d)", ".", text)
    text = re.sub(rf"(\d?)\s?([{_VULGAR}])", _vulgar, text)
    text = re.sub(r"(?<=\d)⁄(?=\d)", "/", text)
    text = re.sub(r"(?<=\d)\s?[‐‑‒–−]\s?(?=[$£€¥₹]?\d)", "-", text)
    text = re.sub(r"(?:(?<=[\s(\"'“‘])|^)[−–‐](?=[$£€¥₹]?[\d.])", "-", text)
    text = re.sub(
        r"(?<![A-Za-z])((?:k|c|m|d)?m|ft)([²³])", lambda match: match[1] + _plain(match[2]), text
    )
    text = re.sub(rf"((?:\d|\b[A-Za-z])\)?)([²³])(?![{_SUPERSCRIPT}])", _power, text)
    # Footnotes: a superscript after a word, before or after its punctuation.
    text = re.sub(rf"(?:(?<=[A-Za-z]{{3}})|(?<=[A-Za-z][.,;:!?)]))[{_SUPERSCRIPT}]+", "", text)
    return re.sub(rf"[{_SUPERSCRIPT}]+", NUMBER, text)


def numbers_to_words(text: str) -> str:
    """Speak all numbers of a text; a mark of `unspoken` stands for what has no sure reading."""
    text = plain_digits(text)
    return romans_to_words(rewrite(text, _rules()) if _SIGNS.search(text) else text)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("⁄", "/")


def _vulgar(match: re.Match[str]) -> str:
    return f"{match[1]} {_plain(match[2])}"


def _power(match: re.Match[str]) -> str:
    return f"{match[1]} {'squared' if match[2] == '²' else 'cubed'}"


def _telephone(match: re.Match[str]) -> str:
    digits = spelled(re.sub(r"\D", "", match[0]))
    return f"plus {digits}" if match[0].startswith("+") else digits


def _emergency(match: re.Match[str]) -> str:
    """`Call 911`."""
    verb, number = match[0].split()
    return f"{verb} {spelled(number)}"


def _hours(match: re.Match[str]) -> str:
    """`0600 hours`."""
    return f"o {integer(match[1])} hundred"


def _grouped(match: re.Match[str]) -> str:
    """`1 000 000`, `5 000`; but `12 500` may be two numbers."""
    groups = match[0].split()
    sure = len(groups) > 2 or groups[1] == "000"
    return cardinal(int("".join(groups))) if sure and groups[0][0] != "0" else NUMBER


def _series(match: re.Match[str]) -> str:
    """`1-2-3`; codes such as `978-3-16-148410-0` digit by digit."""
    parts = match[0].split("-")
    return " ".join(map(integer if all(len(part) < 3 for part in parts) else spelled, parts))


def _range(match: re.Match[str]) -> str:
    """`5-10`, `3-2`; two numbers of four digits are spelled out, others have no sure reading."""
    parts = match.groups()
    lengths = [len(part) if part.isdigit() else 0 for part in parts]
    if max(lengths) <= 3:
        return " to ".join(map(amount, parts))
    return " ".join(map(spelled, parts)) if lengths == [4, 4] else NUMBER


def _dotted(match: re.Match[str]) -> str:
    """`1.2.3`, `192.168.0.1`; groups of three digits are those of a large number."""
    parts = match[1].split(".")
    three = len(parts) > 2 and all(len(part) == 3 for part in parts[1:])
    if three and (parts[-1] == "000" or len(parts) == 3):
        return cardinal(int("".join(parts)))
    return " point ".join(map(integer, parts))


def _fraction(match: re.Match[str]) -> str:
    if match[0] in _PAIRS:
        return _PAIRS[match[0]]
    return fraction(int(match[2]), int(match[3]), int(match[1]) if match[1] else None)


def _times(match: re.Match[str]) -> str:
    power = re.match(r"10 (?:squared|cubed)", match.string[match.end() :])
    return " times " if power or "=" in match.string else " by "


def _compared(match: re.Match[str]) -> str:
    """`was < 5`: the verb is there already."""
    sign = {"<=": "≤", ">=": "≥"}.get(match[2], match[2])
    return f"{match[1]} {_COMPARED[sign]} "


def _dash(match: re.Match[str]) -> str:
    """A hyphen with spaces between numbers: a difference in equations, a range elsewhere."""
    return " minus " if "=" in match.string else "-"


@functools.cache
def _rules() -> list[Rule]:
    return [*_before(), *DATES, *MEASURES, *_ordinals(), *DECADES, *_numbers(), *_signs()]


def _before() -> list[Rule]:
    """Telephone numbers, and signs and abbreviations before numbers."""
    words, codes = "|".join(_ABBREVIATED), "|".join(_CODES)
    return [
        (
            re.compile(
                r"(?<![\w+])(?<!\d[ -])(?:\+\d{1,3}[\d ().-]{5,18}\d|\(\d{3}\)\s?\d{3}[- ]\d{4}"
                r"|(?:1-)?\d{3}([-. ])\d{3}\1\d{4}|0\d{2,4}[ -]\d{3,6}(?:[ -]\d{3,4})?|\d{3}-\d{4})"
                + AFTER
            ),
            _telephone,
        ),
        (
            re.compile(
                rf"\b(?i:call|called|calling|dial|dialed) (?:911|999|112|411|101){AFTER}"
                r"(?! [a-z]+s\b)"
            ),
            _emergency,
        ),
        (re.compile(r"\b0(\d)00(?= (?:hours|hrs)\b)"), _hours),
        (re.compile(rf"\b(?:{_OTHER_CODES})\s?(?=\d)|(?<=\d)\s?(?:{_OTHER_CODES})\b"), NUMBER),
        (re.compile(r"\b([mk])\.p\.h\.?"), r"\1ph"),
        (re.compile(rf"\b({codes})\.?\s?(?=\d)|(?<=\d)\s?({codes})\b"), _currency),
        (re.compile(r"(?<=\d) - (?=\d)"), _dash),
        (re.compile(r"(?i:(?<=[ap]m)|(?<=[ap] m))\s?-\s?(?=\d)"), " to "),
        (re.compile(r"(?<![\w.,)%°$£€¥₹-])-(?=[$£€¥₹]?\.?\d)"), "minus "),
        (re.compile(r"(?<![\w)])\+(?=[$£€¥₹]?\.?\d)"), "plus "),
        (re.compile(r"±\s?|\+/-\s?"), " plus or minus "),
        (re.compile(r"[~≈]\s?(?=[$£€¥₹]?\d)"), "about "),
        (re.compile(r"(?<![\w&])#\s?(?=\d)"), "number "),
        (re.compile(r"§\s?(?=\d)"), "section "),
        (re.compile(rf"\b((?i:{words}))\.\s?(?=\d)"), _abbreviation),
        (re.compile(rf"(?<!\d )\b{_CONSONANT}{{1,4}}\.\s?(?=\d)"), NUMBER),  # b. 1850, fl. 1850
        (re.compile(r"(?<=\d) ?(BCE?|CE|AD)\b"), lambda match: f" {' '.join(match[1])}"),
        (re.compile(r"\bAD (?=\d)"), "A D "),
        (re.compile(r"(?<=[%°])\s?-\s?(?=\d)|(?<=\d)\s?-\s?(?=[$£€¥₹])"), " to "),
        (re.compile(r"(?<=:[0-5]\d)\s?-\s?(?=\d\d?:[0-5]\d)"), " to "),
    ]


def _currency(match: re.Match[str]) -> str:
    return _CODES[match[1] or match[2]]


def _abbreviation(match: re.Match[str]) -> str:
    return _ABBREVIATED[match[1].lower()] + " "


def _ordinals() -> list[Rule]:
    """`21st`, `1,000th`, and as old books have it, `23d`."""
    pattern = rf"{BEFORE}(?:({INTEGER})(?:st|nd|rd|th)|(\d*[23])d)\b"
    return [
        (
            re.compile(pattern, re.I),
            lambda match: ordinal(int((match[1] or match[2]).replace(",", ""))),
        )
    ]


def _numbers() -> list[Rule]:
    """Numbers without a unit, from those of many parts to the plain ones."""
    return [
        (re.compile(rf"{BEFORE}{AMOUNT} {_CONSONANT}{{2,4}}\b(?!')"), NUMBER),  # a unit?
        (re.compile(rf"{BEFORE}{AMOUNT} [a-z]{{2,4}}\.(?=[,;]|\s[a-z\d])"), NUMBER),  # one, cut
        (re.compile(rf"{BEFORE}\d{{1,3}}(?: \d{{3}})+{AFTER}(?! ?\d)"), _grouped),
        (re.compile(rf"{BEFORE}\d+(?:-\d+){{2,}}{AFTER}"), _series),
        (re.compile(rf"{BEFORE}\d+ \d-\d{AFTER}"), NUMBER),  # in old books 3 1-2 is 3 1/2
        (re.compile(rf"{BEFORE}({AMOUNT})-({AMOUNT}){AFTER}"), _range),
        (
            re.compile(rf"{BEFORE}(\d\d?):(\d\d?){AFTER}"),
            lambda match: f"{integer(match[1])} to {integer(match[2])}",
        ),
        (
            re.compile(rf"(?<![\w.-])(?<!\d )[vV]\.?\s?(\d+(?:\.\d+)*){AFTER}"),
            lambda match: f"version {_dotted(match)}",
        ),
        (re.compile(rf"{BEFORE}(\d+(?:\.\d+){{2,}}){AFTER}"), _dotted),
        (re.compile(rf"{BEFORE}(?:(\d+)[ -])?(\d{{1,3}})/(\d{{1,4}}){AFTER}"), _fraction),
        (re.compile(r"(?<=\d)\s?[x×]\s?(?=\d)"), _times),
        (re.compile(rf"{BEFORE}({AMOUNT})x\b"), lambda match: f"{amount(match[1])} times"),
        (re.compile(rf"{BEFORE}\d{{1,3}}\.000{AFTER}"), NUMBER),  # thousands, perhaps
        (re.compile(rf"{BEFORE}((?:{INTEGER})?\.\d+){AFTER}"), lambda match: amount(match[1])),
        (
            re.compile(rf"(?<![\w.'-])([A-Z])(?:-(\d{{1,3}})|(\d\d?)){AFTER}"),
            lambda match: f"{match[1]} {integer(match[2] or match[3])}",
        ),
        (
            re.compile(rf"{BEFORE}(\d{{1,3}})([A-Z])(?![\w.]\w|\w)"),
            lambda match: f"{integer(match[1])} {match[2]}",
        ),
        (re.compile(rf"{BEFORE}\d{{4}}{AFTER}"), lambda match: four_digits(match[0])),
        (re.compile(rf"{BEFORE}{INTEGER}{AFTER}"), lambda match: integer(match[0])),
    ]


def _signs() -> list[Rule]:
    """Signs between and after what has been read; then marks for all that is left."""
    return [
        (re.compile(rf"\b({_TO_BE}) ([<>≤≥]|<=|>=) ?(?=\w)"), _compared),
        (re.compile(r"(?<=[\w)]) \+ (?=[\w(])|(?<=\w)\+(?=\s?$|[\s.,;:!?)])"), " plus "),
        (re.compile(r"(?<=[\w)]) = (?=[\w(])|(?<=\w)=(?=\w)"), " equals "),
        (re.compile(r"(?<=[\w)])\s?÷\s?(?=[\w(])"), " divided by "),
        (re.compile(r"(?:(?<=[\s(])|^)<(?=\w)"), "less than "),
        (re.compile(r"(?:(?<=[\s(])|^)>(?=\w)"), "more than "),
        (re.compile(r"(?:(?<=[\s(])|^)≤(?=\w)"), "at most "),
        (re.compile(r"(?:(?<=[\s(])|^)≥(?=\w)"), "at least "),
        (re.compile(r"(?<=\w)\s?(?:<=|≤)\s?(?=\w)"), " is at most "),
        (re.compile(r"(?<=\w)\s?(?:>=|≥)\s?(?=\w)"), " is at least "),
        (re.compile(r"(?<=[\w)])\s?<\s?(?=[\w(])"), " is less than "),
        (re.compile(r"(?<=[\w)])\s?>\s?(?=[\w(])"), " is greater than "),
        (re.compile(r"%(?!\w)"), " per cent "),
        (re.compile(r"[=#]"), ""),
        (re.compile(r"[^\s\"'(]*\d(?:\S*[^\s.,;:!?)\"'])?|[$£€¥₹¢°±×÷§≈≤≥<>+%]"), NUMBER),
    ]
