"""Verses of the Bible in running English text: `Gen. 1:1`, `1 Cor. 13:4-7`."""

from __future__ import annotations

import re

from speechlm.data.numbers import cardinal

_BOOKS = {
    **{"Gen": "Genesis", "Ex": "Exodus", "Exod": "Exodus", "Lev": "Leviticus", "Num": "Numbers"},
    **{"Deut": "Deuteronomy", "Josh": "Joshua", "Judg": "Judges", "Sam": "Samuel"},
    **{"Chron": "Chronicles", "Chr": "Chronicles", "Neh": "Nehemiah", "Ps": "Psalm"},
    **{"Prov": "Proverbs", "Eccl": "Ecclesiastes", "Isa": "Isaiah", "Jer": "Jeremiah"},
    **{"Lam": "Lamentations", "Ezek": "Ezekiel", "Dan": "Daniel", "Hos": "Hosea", "Mic": "Micah"},
    **{"Hab": "Habakkuk", "Zech": "Zechariah", "Mal": "Malachi", "Matt": "Matthew"},
    **{"Mt": "Matthew", "Mk": "Mark", "Lk": "Luke", "Jn": "John", "Rom": "Romans"},
    **{"Cor": "Corinthians", "Gal": "Galatians", "Eph": "Ephesians", "Phil": "Philippians"},
    **{"Col": "Colossians", "Thess": "Thessalonians", "Tim": "Timothy", "Tit": "Titus"},
    **{"Heb": "Hebrews", "Jas": "James", "Pet": "Peter", "Rev": "Revelation"},
}
_WHOLE = (
    "Genesis|Exodus|Leviticus|Numbers|Deuteronomy|Joshua|Judges|Ruth|Samuel|Kings|Chronicles|Ezra"
    "|Nehemiah|Esther|Job|Psalms?|Proverbs|Ecclesiastes|Isaiah|Jeremiah|Lamentations|Ezekiel"
    "|Daniel|Hosea|Joel|Amos|Jonah|Micah|Habakkuk|Zechariah|Malachi|Matthew|Mark|Luke|John|Acts"
    "|Romans|Corinthians|Galatians|Ephesians|Philippians|Colossians|Thessalonians|Timothy|Titus"
    "|Hebrews|James|Peter|Revelation"
)
VERSE = re.compile(
    rf"\b(?:([1-3]|I{{1,3}}) )?({'|'.join(_BOOKS)}|{_WHOLE})\.? (\d{{1,3}}):(\d{{1,3}})"
    r"(?:\s?[-–]{1,2}\s?(\d{1,3}))?(?![\w:]|\s?[ap]\.?m\b)"
)
_PARTS = {"1": "First", "2": "Second", "3": "Third", "I": "First", "II": "Second", "III": "Third"}


def verse(match: re.Match[str]) -> str:
    """What a match of `VERSE` is read as: `First Corinthians thirteen four to seven`."""
    part = f"{_PARTS[match[1]]} " if match[1] else ""
    last = f" to {cardinal(int(match[5]))}" if match[5] else ""
    numbers = f"{cardinal(int(match[3]))} {cardinal(int(match[4]))}"
    return f"{part}{_BOOKS.get(match[2], match[2])} {numbers}{last}"
