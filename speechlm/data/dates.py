"""Dates, times of day, decades and years in running English text to words."""

from __future__ import annotations

import re

from speechlm.data.numbers import AFTER, BEFORE, cardinal, integer, ordinal, year
from speechlm.data.rules import Rule
from speechlm.data.unspoken import NUMBER

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
_MONTH = f"{'|'.join(_MONTHS)}|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_STOP = r"(?:\.(?=,|\s+[a-z\d]))?"  # the full stop of an abbreviation, not that of a sentence


def four_digits(digits: str) -> str:
    """`1999` as a year, other numbers as they are counted."""
    number = int(digits)
    return year(number) if 1100 <= number < 2100 else integer(digits)


def _year(digits: str) -> str:
    """A year of a date, in four digits or in two (`o five`)."""
    if len(digits) != 2:
        return four_digits(digits)
    return f"o {cardinal(int(digits[1]))}" if digits[0] == "0" else cardinal(int(digits))


def _date(month: int, day: int, last: str) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return NUMBER
    return f"{_MONTHS[month - 1]} {ordinal(day)} {_year(last)}"


def _numeric_date(match: re.Match[str]) -> str:
    """`25/12/2020`; of two different numbers up to 12 nobody knows which one is the month."""
    first, second = int(match[1]), int(match[3])
    if match[2] != "/" and not 1000 <= int(match[4]) < 2100:
        return match[0]  # a version, a code
    if first <= 12 and second <= 12 and first != second:
        return NUMBER
    return _date(second, first, match[4]) if first > 12 else _date(first, second, match[4])


def _month(name: str) -> str:
    return next(month for month in _MONTHS if month.startswith(name[:3]))


def _day_month(match: re.Match[str]) -> str:
    """`5 May`, `the 5th of May`, `5-7 May`."""
    days = [ordinal(int(day)) for day in match.group(2, 3) if day]
    return f"{match[1] or 'the '}{' to the '.join(days)} of {_month(match[4])}"


def _month_day(match: re.Match[str]) -> str:
    """`May 5`, `May 5th`, `May 5-7`."""
    days = [ordinal(int(day)) for day in match.group(2, 3) if day]
    return f"{_month(match[1])} {' to '.join(days)}"


def _clock(match: re.Match[str]) -> str:
    """`9:05`, `15:30`, `9:00`."""
    hour, minute = int(match[1]), int(match[2])
    if hour > 24 or hour == minute == 0:
        return NUMBER
    if minute == 0:
        return cardinal(hour) + (" hundred" if hour > 12 else " o'clock")
    return f"{cardinal(hour)} {'o ' if minute < 10 else ''}{cardinal(minute)}"


def _half_day(match: re.Match[str]) -> str:
    """`3:30 pm`, `3.30 p.m.`, `7 am`."""
    hour, minute = int(match[1]), int(match[2] or 0)
    if hour > 24:
        return NUMBER
    minutes = f" {'o ' if minute < 10 else ''}{cardinal(minute)}" if minute else ""
    return f"{cardinal(hour)}{minutes} {match[3].lower()} m"


def _decade(match: re.Match[str]) -> str:
    """`1990s`, `'90s`, `100s`; of `1987's` only the year is read."""
    number = int(match[1])
    if number in (100, 1000):
        return f"{cardinal(number).removeprefix('one ')}s"
    if number > 99 and number % 10:
        return f"{four_digits(match[1])}'s"
    words = four_digits(match[1]) if number % 100 == 0 else cardinal(number % 100)
    if number > 99 and number % 100:
        words = f"{cardinal(number // 100)} {words}"
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _years(match: re.Match[str]) -> str:
    """`1914-18`, `1914-1918`; other pairs of numbers stay."""
    first, last = match[1], match[2]
    if int(last) <= int(first[4 - len(last) :]):
        return match[0]
    return f"{year(int(first))} to {_year(last)}"


DATES: list[Rule] = [
    (
        re.compile(rf"{BEFORE}(\d{{4}})([-/])(\d\d)\2(\d\d){AFTER}"),
        lambda match: _date(int(match[3]), int(match[4]), match[1]),
    ),
    (re.compile(rf"{BEFORE}(\d\d?)([/.-])(\d\d?)\2(\d{{4}}|\d\d){AFTER}"), _numeric_date),
    (
        re.compile(
            rf"(\b[Tt]he )?{BEFORE}(?:({_DAY})(?:st|nd|rd|th)?[-/])?({_DAY})(?:st|nd|rd|th)?"
            rf"(?: of)?[ -]({_MONTH})\b{_STOP}"
        ),
        _day_month,
    ),
    (re.compile(rf"\b({_MONTH})\.?\s+({_DAY})(?:-({_DAY}))?(?:st|nd|rd|th)?{AFTER}"), _month_day),
    (
        re.compile(
            rf"{BEFORE}(\d\d?)(?:[:.]([0-5]\d))?\s?([apAP])(?:\.\s?[mM]\b|\s?[mM]\b){_STOP}"
        ),
        _half_day,
    ),
    (re.compile(rf"{BEFORE}(\d\d?):([0-5]\d){AFTER}"), _clock),
]
"""Patterns of dates and times and what says their matches, in the order of use."""
DECADES: list[Rule] = [
    (re.compile(r"'?(?<![\w.,$£€¥₹])(\d{2,4})'?s\b"), _decade),
    (re.compile(r"(?<![\w.,])'(\d\d)\b(?![.,:/]\d)"), lambda match: _year(match[1])),
    (re.compile(rf"{BEFORE}(1[1-9]\d\d|20\d\d)-(\d{{4}}|\d\d){AFTER}"), _years),
]
"""The same for decades and spans of years; they come after units and ordinals."""
