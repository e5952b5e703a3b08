"""Running English text to sentences in the style of LibriSpeech: A-Z, apostrophe and space.

Written for prose from books: titles and other abbreviations are spoken out, numbers become
words, quotation marks and other punctuation go, apostrophes stay inside words only (as in
LibriSpeech's transcripts), hyphens separate words.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from speechlm.data.markup import resolve
from speechlm.data.readings import numbers_to_words, plain_digits
from speechlm.data.rules import Rule, rewrite
from speechlm.data.unspoken import MARKS, reason, shown
from speechlm.data.verses import VERSE, verse

_LETTERS = str.maketrans(
    {
        **dict.fromkeys("™®©", ""),
        "№": "No.",
        **dict.fromkeys("‘’‛′`´ʼ", "'"),
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‐‑", "-"),
        **dict.fromkeys("–—―−", " -- "),
        **{"…": "...", "\u00a0": " ", "\u00ad": "", "\u200b": "", "\ufeff": ""},
        **{"æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ß": "ss", "ø": "o", "Ø": "O"},
        **{"đ": "d", "Đ": "D", "ł": "l", "Ł": "L", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th"},
    }
)
_TITLES = {
    **{"Mr": "Mister", "Mrs": "Missus", "Messrs": "Messieurs", "Dr": "Doctor", "Rev": "Reverend"},
    **{"Prof": "Professor", "Capt": "Captain", "Col": "Colonel", "Gen": "General", "Maj": "Major"},
    **{"Lieut": "Lieutenant", "Lt": "Lieutenant", "Sergt": "Sergeant", "Sgt": "Sergeant"},
    **{"Gov": "Governor", "Hon": "Honorable", "Mme": "Madame", "Mlle": "Mademoiselle"},
    **{"Cpl": "Corporal", "Cmdr": "Commander", "Adm": "Admiral", "Brig": "Brigadier"},
    **{"Pvt": "Private", "Msgr": "Monsignor", "Mgr": "Monsignor", "Insp": "Inspector"},
    **{
        "Pres": "President",
        "Sen": "Senator",
        "Mt": "Mount",
        "Ft": "Fort",
        "Supt": "Superintendent",
    },
}
_PLAIN_TITLES = {"Ms": "Miss", "Mons": "Monsieur", "Wm": "William", "Geo": "George"}
_WORDS = {
    **{"etc": "et cetera", "viz": "namely", "vs": "versus", "vol": "volume", "vols": "volumes"},
    **{"ult": "ultimo", "inst": "instant", "prox": "proximo", "Esq": "Esquire", "Jr": "Junior"},
    **{
        "Sr": "Senior",
        "Co": "Company",
        "Bros": "Brothers",
        "Inc": "Incorporated",
        "Ltd": "Limited",
    },
    **{"Jan": "January", "Feb": "February", "Aug": "August", "Sept": "September", "Oct": "October"},
    **{"Nov": "November", "Dec": "December", "Ave": "Avenue", "Vol": "Volume", "Chap": "Chapter"},
    **{"Tues": "Tuesday", "Tue": "Tuesday", "Wed": "Wednesday", "Thurs": "Thursday"},
    **{"Thu": "Thursday", "Fri": "Friday", "approx": "approximately", "dept": "department"},
    **{"Dept": "Department", "govt": "government", "Govt": "Government", "yr": "year"},
    **{"yrs": "years", "mos": "months", "wks": "weeks", "hrs": "hours", "hr": "hour"},
    **{"mins": "minutes", "secs": "seconds", "Corp": "Corporation", "Univ": "University"},
    **{"Blvd": "Boulevard", "Rd": "Road", "Hwy": "Highway", "Bldg": "Building"},
}
_DAY = r"(?:Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)(?:day|nesday|urday|sday)?\b"
_DAYS = {"Mon": "Monday", "Sat": "Saturday", "Sun": "Sunday"}
_RULES: list[Rule] = [
    (re.compile(r"(?<=\S)[ \t]*-{2,}[ \t]*(?=\S)|-{2,}"), " -- "),
    (re.compile(r"&c\.?"), "et cetera"),
    (VERSE, verse),
    (re.compile(r"\b([A-Z]{1,2})&([A-Z]{1,2})\b"), lambda match: _initials(*match.groups())),
    (re.compile(r"\s?&+\s?"), " and "),
    (re.compile(r"(?<=\d) ?\* ?(?=\d)"), " times "),
    (re.compile(r"[_*]+|\^+(?!\d)|~(?!\d)|={2,}|(?<![\w\s)<>])=|=(?![\w\s(-])"), ""),
    (re.compile(r"\bi\.\s?e\.,?"), "that is"),
    (re.compile(r"\be\.\s?g\.,?"), "for example"),
    (re.compile(r"\bSt\.?(?=\s+[A-Z])(?!\s+(?:The|He|She|It|They|I|But|And|In)\b)"), "Saint"),
    (re.compile(r"(?<=[a-z]\s)St\."), "Street"),
    (re.compile(r"\bM\.(?=\s(?:de|du|le|la)\b|\s[A-Z][a-z])"), "Monsieur"),
    (re.compile(r"\bNo\.(?=\s?\d)|(?<=\w )No(?= \d)"), "number"),
    (re.compile(r"\bNos\.(?=\s?\d)"), "numbers"),
    (re.compile(r"(?<=\d)\s?(?:lbs?|lb)\."), " pounds"),
    (re.compile(rf"\b({_DAY}\.?)-(?={_DAY})"), r"\1 to "),
    (re.compile(r"\b(Mon|Sat|Sun)\.(?=,|-| \d| to )"), lambda match: _DAYS[match[1]]),
    (re.compile(r"\b([ap])\.\s?m\.", re.I), r"\1 m"),
]
_INITIALS = re.compile(r"\b(?:[A-Z]\.\s?){2,}|\b[A-HJ-Z]\.(?=\s[A-Z])")
_END = re.compile(r"""((?:[.!?]+["')\]]*)+)\s+(?=["'(\[]*[A-Z0-9\ue000-\ue002])""")
_PAUSES = (
    r"[;:]",
    r"--",
    r"[()\"]|\.\.\.",
    r",",
    r"(?i:\s(?=(?:and|but|or|that|which|who|when)\s))",
)
_STRIP = re.compile(r"(?<![A-Z])'+|'+(?![A-Z])")
_SPACE = re.compile(r"[^A-Z'0-9À-\U0010ffff]+")
FOREIGN = "letters other than A-Z"
"""Why a transcript is left out that `expand` and `to_words` do not make `is_normal`."""
_NORMAL = re.compile(r"[A-Z']+(?: [A-Z']+)*")


@dataclass(frozen=True)
class SentenceOptions:
    """Lengths of the sentences made (words)."""

    min_words: int = 2
    """Shorter pieces join their neighbour in the paragraph; alone they are dropped."""
    max_words: int = 40
    """Longer sentences are cut at pauses, the strongest near the middle first."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.max_words:
            raise ValueError(
                f"1 <= min_words <= max_words expected, got {self.min_words} and {self.max_words}"
            )

    def why_not(self, words: str) -> str:
        """`too short` or `too long`, empty if a sentence has the right length."""
        count = words.count(" ") + 1
        if count < self.min_words:
            return "too short"
        return "too long" if count > self.max_words else ""


def is_normal(line: str) -> bool:
    """Whether a line is in the output format already."""
    return _NORMAL.fullmatch(line) is not None


def sentences(paragraph: str, options: SentenceOptions) -> Iterator[tuple[str, str]]:
    """(sentence, reason) for every sentence of a paragraph of raw text.

    The reason is empty for good sentences; otherwise it says why the sentence is to be dropped:
    `characters` (letters of another script), `too short`, `too long` (no place to cut), `no words`
    (of the whole paragraph), or one of `unspoken`.
    """
    text = expand(paragraph)
    pieces = [part for part in split_sentences(text) if to_words(part)]
    if not pieces:
        yield paragraph, "no words"
    for words in pieces_of(pieces, options, to_words):
        if not is_normal(words):
            yield shown(words), reason(words) or "characters"
        else:
            yield words, options.why_not(words)


def pieces_of(
    pieces: Sequence[str], options: SentenceOptions, spoken: Callable[[str], str]
) -> Iterator[str]:
    """Words of sentences, short ones joined and long ones cut.

    Args:
        pieces: sentences of a paragraph, with punctuation.
        options: their lengths.
        spoken: makes words of text, such as `to_words`.
    """
    for piece in _joined(pieces, options.min_words, spoken):
        yield from map(spoken, cut(piece, options.max_words, spoken))


def expand(text: str) -> str:
    """Plain letters, abbreviations and numbers spoken out; case and punctuation are kept.

    Marks of `unspoken` stand for what has no plain form.
    """
    text = plain_digits(resolve(text))
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_LETTERS)).translate(_LETTERS)
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in decomposed if not unicodedata.combining(c))
    text = rewrite(re.sub(r"\s+", " ", text), _RULES)
    text = _abbreviations().sub(_spoken, text)
    text = _INITIALS.sub(lambda match: match[0].replace(".", " "), text)
    text = numbers_to_words(text)
    return text if text.isascii() else "".join(map(_speakable, text))


def why_not(words: str) -> str:
    """Why a transcript cannot be used that `expand` and `to_words` have made; empty if it can."""
    return reason(words) or ("" if is_normal(words) else FOREIGN)


def split_sentences(text: str) -> list[str]:
    """Cut after . ! ? before an upper-case letter. `"Why?" asked he` is one sentence."""
    bounds = [match.end() for match in _END.finditer(text)]
    return [text[a:b].strip() for a, b in zip([0, *bounds], [*bounds, len(text)], strict=True)]


def cut(text: str, max_words: int, spoken: Callable[[str], str]) -> list[str]:
    """Cut into pieces of at most max_words words, if there are pauses to cut at."""
    if len(spoken(text).split()) <= max_words:
        return [text]
    middle = len(text) / 2
    for pause in _PAUSES:
        places = [match.end() for match in re.finditer(pause, text)]
        places = [place for place in places if 0.15 < place / len(text) < 0.85]
        if places:
            place = min(places, key=lambda position: abs(position - middle))
            return cut(text[:place], max_words, spoken) + cut(text[place:], max_words, spoken)
    return [text]


def to_words(text: str) -> str:
    """Upper-case words with single spaces; apostrophes inside words only."""
    upper = _SPACE.sub(" ", text.upper())
    return " ".join(_STRIP.sub("", upper).split())


def _speakable(character: str) -> str:
    """Letters, digits and marks of `unspoken`; a blank for symbols such as those of emotions."""
    kept = character.isascii() or character in MARKS or unicodedata.category(character)[0] in "LMN"
    return character if kept else " "


def _initials(*groups: str) -> str:
    """`AT&T` -> `A T and T`."""
    return " and ".join(" ".join(group) for group in groups)


def _joined(pieces: Sequence[str], min_words: int, spoken: Callable[[str], str]) -> Iterator[str]:
    """Pieces that are too short go to the next one (`Oh!`), the last one to the one before."""
    waiting = ""
    done: list[str] = []
    for piece in pieces:
        waiting = f"{waiting} {piece}".strip()
        if len(spoken(waiting).split()) >= min_words:
            done.append(waiting)
            waiting = ""
    if waiting and done:
        done[-1] = f"{done[-1]} {waiting}"
    elif waiting:
        done.append(waiting)
    yield from done


@functools.cache
def _abbreviations() -> re.Pattern[str]:
    titles = "|".join([*_TITLES, *_PLAIN_TITLES])
    return re.compile(rf"\b(?:({titles})\b\.?|({'|'.join(_WORDS)})\.)(\s+[A-Z\"'])?")


def _spoken(match: re.Match[str]) -> str:
    """Titles lose their full stop; other words keep it where a new sentence may start."""
    following = match[3] or ""
    if match[1]:
        return {**_TITLES, **_PLAIN_TITLES}[match[1]] + following
    return _WORDS[match[2]] + ("." if following else "") + following
