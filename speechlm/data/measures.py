"""Money, per cent, degrees and units in running English text to words."""

from __future__ import annotations

import re

from speechlm.data.numbers import AFTER, AMOUNT, BEFORE, INTEGER, amount, cardinal, is_one
from speechlm.data.rules import Rule
from speechlm.data.unspoken import NUMBER

_QUANTITY = rf"{AMOUNT}(?:-{AMOUNT})?"

_CURRENCIES = {
    **{"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")},
    **{"¥": ("yen", "sen"), "₹": ("rupee", "paisa")},
}
_PLURALS = {"penny": "pence", "yen": "yen", "sen": "sen", "paisa": "paise"}
_COUNTRIES = {
    **{"US": "U S", "AU": "Australian", "A": "Australian", "CA": "Canadian", "C": "Canadian"},
    **{"NZ": "New Zealand", "HK": "Hong Kong", "S": "Singapore"},
}
_SCALES = {
    **{"k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million"},
    **{"bn": "billion", "b": "billion", "B": "billion", "tn": "trillion", "trn": "trillion"},
}
_SCALE_WORDS = "hundred|thousand|million|billion|trillion"
_SIGN = r"(?:(?P<country>US|AU|CA|NZ|HK|[ACS])?\$|[£€¥₹])"

_UNITS = {
    **{"km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter"},
    **{"µm": "micrometer", "μm": "micrometer", "nm": "nanometer", "mi": "mile", "yd": "yard"},
    **{"yds": "yard", "ft": "foot", "kg": "kilogram", "g": "gram", "mg": "milligram"},
    **{"µg": "microgram", "μg": "microgram", "lb": "pound", "lbs": "pound", "oz": "ounce"},
    **{"cwt": "hundredweight", "l": "liter", "L": "liter", "ml": "milliliter", "mL": "milliliter"},
    **{"cl": "centiliter", "dl": "deciliter", "hl": "hectoliter", "gal": "gallon", "pt": "pint"},
    **{"qt": "quart", "ha": "hectare", "m2": "square meter", "km2": "square kilometer"},
    **{"cm2": "square centimeter", "mm2": "square millimeter", "ft2": "square foot"},
    **{"m3": "cubic meter", "cm3": "cubic centimeter", "cc": "cubic centimeter"},
    **{"km3": "cubic kilometer", "dm3": "cubic decimeter", "ft3": "cubic foot"},
    **{"sq ft": "square foot", "sq m": "square meter", "sq km": "square kilometer"},
    **{"sq mi": "square mile", "sq yd": "square yard", "sq in": "square inch"},
    **{"cu ft": "cubic foot", "cu m": "cubic meter", "kmh": "kilometer per hour"},
    **{"kph": "kilometer per hour", "mph": "mile per hour", "mpg": "mile per gallon"},
    **{"kn": "knot", "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz"},
    **{"W": "watt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "kWh": "kilowatt hour"},
    **{"MWh": "megawatt hour", "GWh": "gigawatt hour", "Wh": "watt hour", "V": "volt"},
    **{"kV": "kilovolt", "mV": "millivolt", "mA": "milliampere", "mAh": "milliampere hour"},
    **{"Ω": "ohm", "kΩ": "kilohm", "kJ": "kilojoule", "MJ": "megajoule", "kcal": "kilocalorie"},
    **{"cal": "calorie", "Pa": "pascal", "hPa": "hectopascal", "kPa": "kilopascal"},
    **{"MPa": "megapascal", "GPa": "gigapascal", "psi": "pound per square inch"},
    **{"dB": "decibel", "kB": "kilobyte", "KB": "kilobyte", "MB": "megabyte", "GB": "gigabyte"},
    **{"TB": "terabyte", "kbps": "kilobit per second", "Mbps": "megabit per second"},
    **{"Gbps": "gigabit per second", "Mbit": "megabit", "Gbit": "gigabit", "px": "pixel"},
    **{"dpi": "dot per inch", "rpm": "revolution per minute", "fps": "frame per second"},
    **{"bpm": "beat per minute", "hp": "horsepower", "h": "hour", "hr": "hour", "hrs": "hour"},
    **{"min": "minute", "mins": "minute", "s": "second", "sec": "second", "secs": "second"},
    **{"ms": "millisecond", "µs": "microsecond", "μs": "microsecond", "ns": "nanosecond"},
    **{"Km": "kilometer", "KM": "kilometer", "Kg": "kilogram", "KG": "kilogram"},
    **{"KPH": "kilometer per hour", "MPH": "mile per hour", "Mph": "mile per hour"},
    **{
        "deg": "degree",
        "doz": "dozen",
        "tsp": "teaspoon",
        "tbsp": "tablespoon",
        "wk": "week",
        "wks": "week",
        "yr": "year",
    },
    **{
        "yrs": "year",
        "kN": "kilonewton",
        "kt": "kiloton",
        "Nm": "newton meter",
        "eV": "electronvolt",
    },
}
_PERIOD = "day|week|month|year"
_SPACED = {"m", "s", "h", "V", "W"}  # 5m may be five million, 5s may be fives
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_UNIT_END = r"(?![\w/^'²³]|\.\w)(?:\.(?=,|\)|\s+[a-z]))?"
_AFTER_DEGREES = {
    **{"C": " Celsius", "F": " Fahrenheit"},
    **{"N": " north", "S": " south", "E": " east", "W": " west"},
}


def plural(unit: str) -> str:
    """`square foot` -> `square feet`, `mile per hour` -> `miles per hour`."""
    head, per, rest = unit.partition(" per ")
    if head.endswith("foot"):
        head = head[:-4] + "feet"
    elif head == "inch":
        head = "inches"
    elif not head.endswith(("hertz", "dozen", "horsepower", "hundredweight")):
        head += "s"
    return head + per + rest


def _counted(words: str, unit: str, one: bool) -> str:
    """A number in words with its unit, in the singular if it is `one`."""
    return f"{words} {unit if one else plural(unit)}"


def _coins(number: int, name: str) -> str:
    return f"{cardinal(number)} {name if number == 1 else _PLURALS.get(name, name + 's')}"


def _money(match: re.Match[str]) -> str:
    """`$1.50`, `US$20`, `£3m`, `2,50 €`, `$5-10 million`, `$100-a-day`, `$5/hr`."""
    sign = match["sign"][-1] if match["sign"] else match["after"]
    unit, small = _CURRENCIES[sign]
    country = _COUNTRIES.get(match["country"] or "", "") if match["sign"] else ""
    text = match["number"] or match["before"]
    scale = match["scale"] if match["sign"] else None
    per = f" per {_UNITS.get(match['per'], match['per'])}" if match["sign"] and match["per"] else ""
    # dollars and cents: one or two digits behind the last point or comma, as 2.5 or 1,234.56
    exact = re.fullmatch(rf"({INTEGER})?[.,](\d\d?)", text)
    if exact and not scale:
        whole, part = int((exact[1] or "0").replace(",", "")), int(exact[2].ljust(2, "0"))
        words = [_coins(whole, f"{country} {unit}".strip())] if whole or not part else []
        words += [_coins(part, small)] if part else []
        return f" {' and '.join(words)}{per} "
    scale = f" {_SCALES.get(scale.strip(' -'), scale.strip(' -'))}" if scale else ""
    name = f"{country} {unit}".strip()
    attribute = re.match(r"-[A-Za-z]", match.string[match.end() :]) is not None
    one = attribute or (not scale and is_one(text))
    return f" {amount(text)}{scale} {name if one else _PLURALS.get(name, name + 's')}{per} "


def _shillings(match: re.Match[str]) -> str:
    """The old British money: pounds, shillings and pence."""
    names = zip(("pound", "shilling", "penny"), match.groups(), strict=True)
    words = [_coins(int(n.replace(",", "")), name) for name, n in names if n]
    return f" {' '.join(words[:-1])} and {words[-1]} " if len(words) > 1 else f" {words[0]} "


def _small_money(match: re.Match[str]) -> str:
    return _coins(int(match[1]), "penny" if match[2] == "p" else "cent")


def _per_cent(match: re.Match[str]) -> str:
    return f"{amount(match[1].replace(',', '.') if match[2] else match[1])} per cent"


def _unit(match: re.Match[str]) -> str:
    """`5 km`, `a 5-km run`, `100 km/h`; `5m` and its like stay, see `_SPACED`."""
    number, space, name, other = match.groups()
    if not space and name in _SPACED and not other:
        return match[0]
    words = _counted(amount(number), _UNITS[name], is_one(number) or space == "-")
    return f"{words} per {_UNITS.get(other, other)}" if other else words


def _stones(match: re.Match[str]) -> str:
    return f"{amount(match[1])} stone"


def _inches(match: re.Match[str]) -> str:
    return _counted(amount(match[1]), "inch", is_one(match[1]))


def _length(match: re.Match[str]) -> str:
    """`6"`, `12'`: inches and feet, if the mark cannot close a quotation that is open there."""
    mark, before = match[2], match.string[: match.start(2)]
    # Marks after digits are those of other lengths; the rest open a quotation or close it.
    opened = len(re.findall(rf"(?<!\w){mark}(?=\S)", before))
    closed = len(re.findall(rf"(?<=[^\W\d]){mark}(?!\w)|(?<=[.,;:!?]){mark}", before))
    if opened > closed:
        return match[0]
    name = "inch" if mark == '"' else "foot"
    return f"{_counted(amount(match[1]), name, is_one(match[1]))}{' by ' if match[3] else ''}"


def _span(match: re.Match[str]) -> str:
    """`52%-48%`, `5 km - 7 km`."""
    return f"{match[1]} to "


def _each(match: re.Match[str]) -> str:
    """`beats/min`, `people/year`."""
    return f" per {_UNITS.get(match[1], match[1])}"


def _degrees(match: re.Match[str]) -> str:
    words = _counted(amount(match[1]), "degree", is_one(match[1]))
    return words + _AFTER_DEGREES.get(match[2] or "", "")


def _position(match: re.Match[str]) -> str:
    """Degrees, minutes and seconds of a place on Earth."""
    names = zip(("degree", "minute", "second"), match.groups()[:3], strict=True)
    words = [_counted(amount(n), name, is_one(n)) for name, n in names if n]
    return " ".join(words) + _AFTER_DEGREES.get(match[4] or "", "")


def _feet(match: re.Match[str]) -> str:
    """`6'2"`, `6 ft 2 in`."""
    feet = _counted(amount(match[1]), "foot", is_one(match[1]))
    return f"{feet} {_counted(amount(match[2]), 'inch', is_one(match[2]))}"


_MONEY = re.compile(
    rf"(?:(?<![\w$£€¥₹.,])(?P<sign>{_SIGN})\s?(?P<number>\d+,\d\d(?![\d,])|{_QUANTITY})"
    rf"(?:(?P<scale>[ -](?:{_SCALE_WORDS})\b| (?:m|mn|bn|tn|trn)\b|(?:{'|'.join(_SCALES)})\b))?"
    rf"(?:/(?P<per>{_UNIT}|[a-z]+)\b)?"
    rf"|{BEFORE}(?P<before>\d+,\d\d(?![\d,])|{_QUANTITY})\s?(?P<after>[$£€¥₹])){AFTER}"
)
SPANS: Rule = (
    re.compile(
        rf"((?:(?P<money>[$£€¥₹])\s?)?(?<![\w.,]){AMOUNT}\s?(?P<unit>{'|'.join(_SCALES)}|{_UNIT}"
        rf"|%|°[CF]?))\s?[-‐‑‒–−]\s?(?=(?(money)(?P=money)\s?){AMOUNT}\s?(?P=unit)(?![\w]))"
    ),
    _span,
)
"""Two quantities of the same unit, with a hyphen between them; to be read before all others."""
_POUNDS = rf"(?<![\w£.,])(?:£\s?({INTEGER})[ .,]*)?"
MEASURES: list[Rule] = [
    (re.compile(rf"{_POUNDS}(\d{{1,2}})\s?s\.,?\s?(\d{{1,2}})\s?d\b\.?"), _shillings),
    (re.compile(rf"(?<![\w.,])£\s?({INTEGER})[ .,]*(\d{{1,2}})()\s?s\."), _shillings),
    (_MONEY, _money),
    (re.compile(rf"{BEFORE}(\d{{1,3}})(p|\s?¢)(?![\w.]\w|\w)"), _small_money),
    (re.compile(rf"{BEFORE}(\d+(,)\d\d?|{_QUANTITY})\s?%(?!\w)"), _per_cent),
    # `11st 4lb`: no ordinal ends so, a weight in stones does.
    (re.compile(rf"{BEFORE}(\d*(?:1\d|[02-9]))\s?st\b(?!\.\s?[A-Z])"), _stones),
    (re.compile(rf"{BEFORE}(\d\d)\s?st\b(?=\s\d\d?lbs?\b)"), _stones),
    (re.compile(rf"{BEFORE}{AMOUNT} (?:squared|cubed) (?:{_UNIT})\b(?!')"), lambda match: NUMBER),
    (re.compile(rf"{BEFORE}{AMOUNT} [CFJKNT](?=\s[a-z]|[.,;)]|$)"), lambda match: NUMBER),
    (
        re.compile(
            rf"{BEFORE}({AMOUNT})\s?°\s?(\d{{1,2}})\s?'\s?(?:({AMOUNT})\s?\"\s?)?(?:([NSEW])\b)?"
        ),
        _position,
    ),
    (re.compile(rf"{BEFORE}({_QUANTITY})\s?°\s?(?:([CFNSEW])\b)?(?!\w)"), _degrees),
    (re.compile(rf"{BEFORE}(\d+)\s?(?:'|ft\.?)\s?({AMOUNT})\s?(?:\"|in\b\.?)"), _feet),
    (re.compile(rf"{BEFORE}(\d)'(\d\d?)(?!\w)"), _feet),
    (re.compile(rf"{BEFORE}({_QUANTITY})(['\"])(?!\w)(\s?[x×]\s?(?=\d))?"), _length),
    (
        re.compile(rf"{BEFORE}({_QUANTITY})([ -]?)({_UNIT})(?:/({_UNIT}|{_PERIOD}))?{_UNIT_END}"),
        _unit,
    ),
    (re.compile(rf"{BEFORE}({_QUANTITY}) in\.(?=,|\s+[a-z])"), _inches),
    (re.compile(rf"(?<=[a-z]{{3}})/({_PERIOD}|h|hr|min|s|sec)\b"), _each),
]
"""Patterns and what says their matches, in the order of use."""
