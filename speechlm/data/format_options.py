"""What the audio of a dump directory must be."""

from __future__ import annotations

from dataclasses import dataclass

from speechlm.conventions import PAPER_FRAMING, Framing
from speechlm.data.conversion import AudioOptions


@dataclass(frozen=True, kw_only=True)
class FormatOptions(AudioOptions):
    """What the audio of a dump directory must be."""

    min_seconds: float = 0.0
    """Shorter utterances are filtered; less than 25 ms always is, a frame of the paper's model. A
    fast model's frames are of up to 55 ms: what has none is left out where it is trained."""
    max_seconds: float = float("inf")
    """Longer utterances are filtered."""
    max_bad_share: float = 0.1
    """A larger share of wrong utterances stops the stage."""
    framing: Framing = PAPER_FRAMING
    """Frames in which CTC writes; a transcript with more letters than it can write in them is left
    out. Samples of other rates are counted as those of 16 kHz that last as long. Those of the
    paper are the most that any size has: a fast model has as many CTC outputs, or one or two less,
    and its fine-tuning leaves out what is too long for these."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_seconds <= self.max_seconds:
            raise ValueError(
                "0 <= min_seconds <= max_seconds expected, got"
                f" {self.min_seconds:g} and {self.max_seconds:g}"
            )
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share of 0..1 expected, got {self.max_bad_share:g}")
