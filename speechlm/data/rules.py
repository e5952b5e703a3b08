"""Rules that rewrite a text: a pattern, and what takes the place of its matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
"""What `re.Pattern.sub` takes: groups of a string are replaced, a function is given the match."""


def rewrite(text: str, rules: Iterable[Rule]) -> str:
    """Apply rules one after the other, each to what those before it have made of the text."""
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text
