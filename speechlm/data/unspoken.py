"""Marks that stand in a text for what cannot be spoken, until the sentence they are in is left out.

They are characters of Unicode's private use area, which no text has any use for here: so they pass
through the cutting of a paragraph into sentences, and only the sentence that has one is lost.
"""

from __future__ import annotations

MARKUP, ADDRESS, NUMBER, INITIALS = "\ue000", "\ue001", "\ue002", "\ue003"
MARKS = {
    MARKUP: "markup",
    ADDRESS: "web address or file name",
    NUMBER: "number or sign without a sure reading",
    INITIALS: "letters with a full stop",
}
"""Why a sentence with such a mark is left out."""


def shown(text: str) -> str:
    """A text with `<?>` in the place of marks, for reports."""
    for mark in MARKS:
        text = text.replace(mark, "<?>")
    return text


def reason(text: str) -> str:
    """Why a text with a mark cannot be spoken; empty if it has none."""
    return next((why for mark, why in MARKS.items() if mark in text), "")
