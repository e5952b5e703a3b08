"""What was said in a recording and when: words, segments, and how they are written.

Times are in seconds from the recording's beginning.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LEAST = 0.0001
"""The lowest confidence that is written: none is 0."""


@dataclass(frozen=True)
class Word:
    """A word of a recording."""

    word: str
    start: float
    """When its first letter begins."""
    end: float
    """When its last letter ends."""
    confidence: float
    """Above 0, at most 1."""


@dataclass(frozen=True)
class Segment:
    """Words between two pauses: what was searched at once."""

    words: tuple[Word, ...]
    complete: bool = True
    """Whether the search reached a final state; if not, the last word may be cut off."""

    @property
    def text(self) -> str:
        """The words."""
        return " ".join(word.word for word in self.words)


@dataclass(frozen=True)
class Transcript:
    """What was said in a recording."""

    duration: float
    segments: tuple[Segment, ...]
    """Those that have words."""

    @property
    def words(self) -> list[Word]:
        """All words, in order."""
        return [word for segment in self.segments for word in segment.words]

    @property
    def text(self) -> str:
        """All words, with blanks between them."""
        return " ".join(word.word for word in self.words)


def as_text(name: str, path: str, transcript: Transcript) -> str:
    """The words on a line."""
    return transcript.text + "\n"


def as_ctm(name: str, path: str, transcript: Transcript) -> str:
    """NIST's CTM: lines `name channel start duration word confidence`."""
    return "".join(
        f"{name} 1 {word.start:.2f} {word.end - word.start:.2f} {word.word} "
        f"{max(word.confidence, LEAST):.4f}\n"
        for word in transcript.words
    )


def as_json(name: str, path: str, transcript: Transcript) -> str:
    """An object on a line."""
    values: dict[str, Any] = {
        "file": path,
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
        "words": _words(transcript.words),
        "segments": [
            {
                "start": round(segment.words[0].start, 3),
                "end": round(segment.words[-1].end, 3),
                "text": segment.text,
                "complete": segment.complete,
            }
            for segment in transcript.segments
        ],
    }
    return json.dumps(values, ensure_ascii=False) + "\n"


FORMATS = {"text": (as_text, ".txt"), "ctm": (as_ctm, ".ctm"), "json": (as_json, ".json")}
"""Name of a format -> what writes it, and the ending of its files."""


def _words(words: Sequence[Word]) -> list[dict[str, Any]]:
    return [
        {
            "word": word.word,
            "start": round(word.start, 3),
            "end": round(word.end, 3),
            "confidence": round(max(word.confidence, LEAST), 4),
        }
        for word in words
    ]
