"""Roman numerals in running English text: of rulers, of parts of books, of years."""

from __future__ import annotations

import re

from speechlm.data.numbers import cardinal, ordinal, year

_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_WELL_FORMED = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_SECTIONS = (
    "chapter|book|volume|vol|part|act|scene|canto|section|stanza|letter|verse|number|stave"
    "|epoch|article|class|type|figure|plate|table|appendix|psalm|war|phase|title|group|grade"
)
_CHAPTER = re.compile("(?i:chapter|volume|vol|canto|appendix)$")
_RULERS = (
    "Adrian|Albert|Alexander|Alfonso|Amenhotep|Antiochus|Artaxerxes|Baldwin|Benedict|Boniface"
    "|Casimir|Catherine|Charles|Christian|Clement|Conrad|Constantine|Cyrus|Darius|Edmund|Edward"
    "|Elizabeth|Eric|Eugene|Ferdinand|Francis|Frederick|George|Gregory|Gustav|Gustavus|Haakon"
    "|Harald|Harold|Henry|Honorius|Innocent|Ivan|James|John|Julius|Justinian|Leo|Leopold|Louis"
    "|Ludwig|Magnus|Mary|Maximilian|Mehmed|Murad|Napoleon|Nicholas|Olaf|Oscar|Otto|Paul"
    "|Peter|Philip|Philippe|Pius|Ptolemy|Rameses|Ramesses|Ramses|Richard|Robert|Rudolf|Rudolph"
    "|Selim|Sigismund|Sixtus|Stephen|Suleiman|Theodosius|Thutmose|Umberto|Urban|Valdemar"
    "|Victor Emmanuel|Wilhelm|William|Xerxes"
)
_TITLES = (
    "King|Queen|Pope|Emperor|Empress|Sultan|Tsar|Czar|Kaiser|Prince|Princess|Duke|Earl|Count"
    "|Shah|Pharaoh|Patriarch"
)
_NUMERAL = re.compile(r"\b[IVXLCDM]+\b")
_NOT_VERB = r"(?!'(?!s\b))"  # Henry VIII's, but neither I'm nor I'll
_SECTION = re.compile(rf"\b((?i:{_SECTIONS}))\.?\s+([IVXLCDM]+)\b(?!')")
_RULER = re.compile(
    rf"\b((?:{_TITLES})\s+[A-Z][a-z]+|{_RULERS})"
    rf"\s+([IVX]{{2,}}|[VX](?!\.\s[A-Z]))\b{_NOT_VERB}"
)
_FIRST = re.compile(rf"\b((?:{_TITLES})\s+[A-Z][a-z]+)\s+(I)\b(?=[,.;:)]|'s\b|\s+(?:of|was|and)\b)")
_LONE = re.compile(r"\b(?:(?=[IVX]{2})[IVX]+|[IVXLCDM]{4,})\b")
_WORDS = {"XI", "MILD", "MIX", "LIVID", "VIVID", "CIVIC", "CIVIL", "XXX"}


def romans_to_words(text: str) -> str:
    """`Henry VIII`, `Chapter IV`, `MCMIX`; `I`, initials and abbreviations such as CD stay."""
    if _NUMERAL.search(text):
        text = _SECTION.sub(_section, text)
        text = _RULER.sub(_ruler, _FIRST.sub(_ruler, text))
        text = _LONE.sub(_lone, text)
    return text


def roman(numeral: str) -> int | None:
    """Value of a well-formed upper-case numeral, None for anything else."""
    if not numeral or not _WELL_FORMED.fullmatch(numeral):
        return None
    values = [_VALUES[c] for c in numeral]
    following = [*values[1:], 0]
    return sum(-v if v < f else v for v, f in zip(values, following, strict=True))


def _section(match: re.Match[str]) -> str:
    """`Chapter I`, `Part IV`; but `the part I played` and `class C` stay as they are."""
    value = roman(match[2])
    after = match.string[match.end() : match.end() + 2]
    name = _CHAPTER.match(match[1]) or (match[1][0].isupper() and match.start())
    pronoun = match[2] == "I" and re.match(r"\s\w", after) and not name
    if value is None or pronoun or match[2] in "LCDM":
        return match[0]
    return f"{match[1]} {cardinal(value)}"


def _ruler(match: re.Match[str]) -> str:
    value = roman(match[2])
    return match[0] if value is None else f"{match[1]} the {ordinal(value)}"


def _lone(match: re.Match[str]) -> str:
    """Numerals of I, V and X, and long ones, which are years; words stay."""
    value = roman(match[0])
    if value is None or match[0] in _WORDS:
        return match[0]
    if re.search(r"\b[Aa]n? $", match.string[: match.start()]):
        return " ".join(match[0])  # an IV drip
    return year(value) if value >= 1100 else cardinal(value)
