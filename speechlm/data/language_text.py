"""Text of any language with spaces between words, as it is spoken: small letters, no punctuation.

English has rules of its own (`text_normalize`). Here nothing is known of a language but its case
and what stands inside its words: letters and combining marks are kept (NFC), apostrophes inside
words too, hyphens and other punctuation separate words. What has no sure reading without knowing
more (digits, signs such as % and &, letters with a full stop such as `z. B.`) becomes a mark of
`unspoken`, so that the sentence is left out and counted under its reason.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator

from speechlm.data.language import APOSTROPHE, Language
from speechlm.data.markup import resolve
from speechlm.data.text_normalize import SentenceOptions, expand, pieces_of, why_not
from speechlm.data.text_normalize import sentences as english_sentences
from speechlm.data.text_normalize import to_words as english_words
from speechlm.data.unspoken import INITIALS, NUMBER, reason, shown
from speechlm.data.written import is_letter, normal_apostrophes, without_symbols, words_of

FOREIGN = "letters of another language"
"""Why a transcript is left out that has letters which the language's words do not have."""
_SIGNS = set("&%‰§@#°№+=<>/")
"""Signs that are spoken; marks of emphasis (`_so_`, `*so*`) are not."""
_CLOSERS = "\"')\\]»”’“‹›«"
_END = re.compile(rf"[.!?…;։।॥؟۔\u037e]+[{_CLOSERS}]*\s+")
_DIGITS = re.compile(r"\d[\d.,:]*(?=\s|$)|\d")
_LETTER_AND_STOP = re.compile(r"(?<![^\W_])[^\W\d_]\.(?=\s*[^\W_])")
_STRETCHES = dict.fromkeys(map(ord, "\u0640\u07fa\u034f"))
"""Marks inside words that only change their look, such as Arabic's tatweel; left out."""
_EDGES = re.compile(rf"(?<!\S){APOSTROPHE}+|{APOSTROPHE}+(?!\S)")


def to_words(text: str, language: Language) -> str:
    """A transcript as spoken words, with marks of `unspoken` for what has no sure reading.

    Args:
        text: a sentence in any case, NFC or NFD, with punctuation.
        language: of the text.
    """
    if language.is_english:
        return english_words(expand(text))
    # Marks before and behind NFKC, which makes letters of Ⅳ and ㎞, and digits of ².
    text = _marked(without_symbols(normal_apostrophes(resolve(text))))
    composed = unicodedata.normalize("NFKC", text).translate(_STRETCHES)
    if composed != text:
        text = _marked(normal_apostrophes(composed))
    # Lower case may take letters apart (a dotted I), hence NFC once more.
    text = unicodedata.normalize("NFC", language.cased(text))
    return " ".join(_EDGES.sub("", words_of(text, language.joiners)).split())


def why_left_out(words: str, language: Language) -> str:
    """Why what `to_words` has made cannot be used; empty if it can."""
    if language.is_english:
        return why_not(words)
    if why := reason(words):
        return why
    return "" if is_normal(words, language) else FOREIGN


def is_normal(line: str, language: Language) -> bool:
    """Whether a line is words of the language, with single spaces."""
    return bool(line) and all(map(language.is_word, line.split(" ")))


def sentences(
    paragraph: str, options: SentenceOptions, language: Language
) -> Iterator[tuple[str, str]]:
    """(sentence, reason) for every sentence of a paragraph; the reason of good ones is empty.

    Reasons are those of `text_normalize.sentences`.
    """
    if language.is_english:
        yield from english_sentences(paragraph, options)
        return
    # Marks come first: a full stop of `z. B.` or `3.` ends no sentence.
    text = _marked(" ".join(resolve(paragraph).split()))

    def spoken(part: str) -> str:
        return to_words(part, language)

    pieces = [piece for piece in _split(text) if spoken(piece)]
    if not pieces:
        yield paragraph, "no words"
    for words in pieces_of(pieces, options, spoken):
        why = why_left_out(words, language) or options.why_not(words)
        yield shown(words), why


def _split(text: str) -> list[str]:
    """Cut behind the end of a sentence, if what follows does not begin with a small letter."""
    bounds = [m.end() for m in _END.finditer(text)]
    bounds = [place for place in bounds if not text[place : place + 1].islower()]
    return [text[a:b].strip() for a, b in zip([0, *bounds], [*bounds, len(text)], strict=True)]


def _marked(text: str) -> str:
    """Marks of `unspoken` in the place of what has no sure reading."""
    text = _DIGITS.sub(NUMBER, _LETTER_AND_STOP.sub(_initial, text))
    return "".join(NUMBER if _has_no_reading(c) else c for c in text)


def _initial(match: re.Match[str]) -> str:
    """The mark of a letter with a full stop; a letter behind a combining mark ends a word."""
    before = match.string[match.start() - 1 : match.start()]
    return match[0] if before and unicodedata.category(before)[0] == "M" else INITIALS


@functools.lru_cache(1 << 14)
def _has_no_reading(character: str) -> bool:
    """Numbers, currencies, signs of mathematics, signs that are spoken, and letters as symbols."""
    if character == "~":  # of mathematics, says Unicode; in text it is drawn for a dash
        return False
    category = unicodedata.category(character)
    if category == "So" and any(map(is_letter, unicodedata.normalize("NFKC", character))):
        return True
    return character in _SIGNS or category in ("Nd", "Nl", "No", "Sc", "Sm")
