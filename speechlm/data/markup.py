"""Markup that is left in sentences: HTML, wiki text, Markdown, marks of noises, addresses.

What has a plain form gets it; in the place of the rest stands a mark (see `unspoken`), so that the
sentence is left out and not spoken.
"""

from __future__ import annotations

import html
import re

from speechlm.data.rules import Rule, rewrite
from speechlm.data.unspoken import ADDRESS, MARKUP

_ANY = re.compile(r"[&<>\[\]{}|@#*/\\`;()]|''|www\.|\.[a-z]{2,4}\b")
_ESCAPES = 4  # so many times are entities resolved: &amp;amp;lt; is one that was escaped twice
_NAMES = "amp|quot|apos|lt|gt|nbsp"
_ENTITY = re.compile(
    r"&\s?#\s?(?:\d{1,7}|[xX][0-9a-fA-F]{1,6})\s?;?"  # &#39; & # 39 ; &#39
    rf"|&\s?(?:{_NAMES})\s?;|&(?:{_NAMES})\b"  # &amp; & amp ; &amp
    r"|&[A-Za-z][A-Za-z0-9]{1,31};"
    rf"|#\d{{2,4}};|(?<![\w&;])(?:{_NAMES});|(?<![&;])quot;"  # #39; quot; without ampersand
)
_NOISE = (
    r"(?:(?:background|loud|soft|audience|vocali[sz]ed)[ _-])?"
    r"(?:laugh(?:s|ter|ing)?|applau(?:se|ds|ding)|music(?: playing)?|noises?|silence|coughs?"
    r"|coughing|sighs?|sighing|breath(?:s|e|es|ing)?|clears throat|throat clearing|cheers"
    r"|cheering|whistles?|whistling|pause|beep(?:s|ing)?|ringing|static|sneez(?:es?|ing)"
    r"|groan(?:s|ing)?|gasp(?:s|ing)?|chuckl(?:es?|ing)|giggl(?:es?|ing)|sob(?:s|bing)?|crying"
    r"|lip ?smack|click(?:s|ing)?|sil|nsn|blank[ _]audio|sic|citation needed)"
)
_DEED = r"(?:laughs|sighs|coughs|gasps|groans|giggles|chuckles|sobs|cheers|sneezes)"
_INLINE = (
    "a|abbr|acronym|b|bdi|bdo|big|c|cite|code|del|dfn|em|font|i|ins|kbd|mark|q|s|samp|small|span"
    "|strike|strong|sub|sup|tt|u|v|var|wbr"
)
_BLOCK = (
    "article|blockquote|body|br|caption|center|dd|div|dl|dt|figcaption|figure|footer|h[1-6]|head"
    "|header|hr|html|img|li|main|nav|ol|p|poem|pre|section|table|tbody|td|tfoot|th|thead|title|tr"
    "|ul"
)
_ATTRIBUTES = r"(?:[\s/](?:\"[^\"]{0,2000}\"|'[^']{0,2000}'|[^<>\"']++){0,60})?"
_NO_PAGE = r"\s*:?(?:File|Image|Category|Media|[a-z]{2,3})\s*:"  # pictures and the like of a wiki
_END = r"[^\s.,;:!?)\]\"'<>]"
_HOST = r"(?:com|org|net|edu|gov|mil|info|biz|io|eu|de|fr|(?:co|org|ac|gov)\.uk|com\.au)"
_FILE = r"(?:txt|pdf|html?|jpe?g|png|gif|exe|zip|py|js|php|csv|docx?|xlsx?|mp3|wav)"
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_COMPARED = (
    r"(?<=[\w%)]) [<>]=? (?=[\w$£€(.-])|(?<=\d)[<>]=?(?=[\d$£€.-])"  # 5 < 6, 5<6
    r"|(?<=\b[A-Za-z])[<>]=?(?=[A-Za-z\d]\b)|(?<![\w<>=)-])[<>](?!3\b)(?=\s?[$£€]?\d)"  # x<y, <5
)

_NOISES: list[Rule] = [
    (re.compile(rf"<{_NOISE}>|\[{_NOISE}\]|\({_NOISE}\)|\*{_DEED}\*", re.I), " ")
]
_CAPITALS = (re.compile(r"\((?:[A-Z'-]{2,} )+[A-Z'-]{2,}\)(?=.*[a-z])", re.S), MARKUP)
"""Of subtitles, for what is to be seen or heard: `(JOHN SIGHS)`, among words in lower case."""
_TAGS: list[Rule] = [
    (re.compile(r"<!--.{0,5000}?-->", re.S), ""),
    (re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.S), r"\1"),
    (re.compile(r"<[!?][^<>]*>"), " "),
    (re.compile(r"<ref\b[^<>]*/>", re.I), " "),
    (re.compile(r"<(script|style|ref|gallery)\b[^<>]*>.{0,5000}?</\1\s*>", re.S | re.I), " "),
    (re.compile(r"<(math|table)\b[^<>]*>.{0,5000}?</\1\s*>", re.S | re.I), MARKUP),
    (re.compile(r"</?nowiki\s*/?>", re.I), ""),
    (re.compile(r"<(?:https?://|www\.|mailto:)[^<>\s]+>|<[\w.+-]{1,64}@[^<>\s]+>"), ADDRESS),
    (
        re.compile(r"<sup[^<>]*>\s*(\d{1,3})\s*</sup>", re.I),
        lambda match: match[1].translate(_SUPERSCRIPTS),
    ),
    (re.compile(rf"</?(?:{_INLINE})(?:\.\w+)?{_ATTRIBUTES}/?>", re.I), ""),
    (re.compile(rf"</?(?:{_BLOCK}){_ATTRIBUTES}/?>", re.I), " "),
    (re.compile(r"<\d[\d:.,]*>"), ""),  # times in subtitles
    (re.compile(rf"</?[A-Za-z][\w:.-]*{_ATTRIBUTES}/?>"), MARKUP),
]
_BRACKETS: list[Rule] = [
    (re.compile(rf"\[\[(?!{_NO_PAGE})(?:[^\[\]|]*\|)?([^\[\]|]+)\]\]"), r"\1"),
    (re.compile(rf"\[\[{_NO_PAGE}[^\[\]]*\]\]"), " "),
    (re.compile(r"!\[[^\[\]]*\]\([^()]*\)"), " "),
    (re.compile(r"\[([^\[\]]+)\]\((?:https?:|www\.|/|#|mailto:)[^()]*\)"), r"\1"),
    (re.compile(r"\[(?:https?|ftp)://[^\s\[\]]+\s+([^\[\]]+)\]"), r"\1"),
    (re.compile(r"\[(?:https?|ftp)://[^\s\[\]]+\]"), " "),
    (re.compile(r"\{\{[^{}]*\}\}"), MARKUP),
    (re.compile(r"\[/?(?:b|i|u|s|quote|url|img|color|size|center)(?:=[^\[\]]*)?\]", re.I), ""),
    (re.compile(r"\[(?:Illustration|Music|Footnote|Transcriber|Sidenote)[^\]]*\]", re.I), " "),
    (
        re.compile(r"\[(?:[A-Z0-9*]{1,3}|[a-z]|\d+(?:[,–-]\s?\d+)+)\]|\{\d+\}|\[(?:\.\.\.|…)\]"),
        " ",
    ),  # of footnotes
    (re.compile(r"\{\\[^{}]*\}"), ""),  # styles of subtitles
    (re.compile(r"'{2,}|`{2,}"), '"'),
]
_ADDRESSES: list[Rule] = [
    (re.compile(rf"(?:https?|ftp|file)://\S*{_END}|\bwww\.\S*{_END}|\bmailto:\S*{_END}"), ADDRESS),
    (re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"), ADDRESS),
    (re.compile(rf"(?<![\w.@-])(?:[\w-]{{1,63}}\.)+{_HOST}\b(?:/\S*{_END})?"), ADDRESS),
    (re.compile(rf"(?<![\w.@-])[\w-]{{1,63}}\.{_FILE}\b"), ADDRESS),
    (re.compile(r"(?<!\w)[@#][A-Za-z_]\w+"), ADDRESS),
    (re.compile(r"(?<=\s)@(?=\s)"), "at"),
    (re.compile(r"[\[\]{}|\\@]|&#?\w+;"), MARKUP),
    (re.compile(rf"({_COMPARED})|[<>]"), lambda match: match[1] or MARKUP),
]
_GROUPS = (
    ("<[(*", [*_NOISES, _CAPITALS]),
    ("<", _TAGS),
    ("[{'`", _BRACKETS),
    (".@#:[]{}|\\&<>", _ADDRESSES),
)
"""Rules in the order of use, each group with the characters without which it has nothing to do."""


def resolve(text: str) -> str:
    """Plain text: entities are characters, tags and links what a reader would see of them.

    `&amp;` and its like, also escaped twice or spoilt, tags, comments, wiki links, and marks of
    noises such as `[laughter]` are resolved. What hides words or has none (templates, `<unk>`,
    unknown tags and brackets, web and mail addresses) becomes a mark of `unspoken`. `AT&T` and
    `5 < 6` stay.
    """
    if not _ANY.search(text):
        return text
    for _ in range(_ESCAPES):
        plain = _ENTITY.sub(_character, text)
        if plain == text:
            break
        text = plain
    for characters, rules in _GROUPS:
        if any(character in text for character in characters):
            text = rewrite(text, rules)
    return text


def _character(match: re.Match[str]) -> str:
    """The character of an entity; unknown names stay as they are."""
    name = re.sub(r"[\s;&]", "", match[0])
    return html.unescape(f"&{name};").replace("\xa0", " ")
