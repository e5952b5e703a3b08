"""What every room takes for granted: special ids, the sampling rate, frames of samples, near names.

Imports nothing of the package, so that data and networks can agree without knowing each other.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Tensor

Count = TypeVar("Count", int, "ndarray", "Tensor")

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
"""Symbols of the first rows of every vocabulary."""
BOS, PAD, EOS, UNK = range(len(SPECIALS))
"""Ids of these symbols: beginning, padding, end of a sentence, and what has no id of its own."""
BLANK = BOS
"""Id of the CTC blank; no target begins with <s>, so that its row is free."""

SAMPLE_RATE = 16000
"""Samples a second of all audio after the dump stage."""
WINDOW = 400
"""Samples (25 ms) that a frame label or a cepstral frame describes, whatever the shift. A front end
has a window of its own."""

INTERRUPTED = 75
"""Exit code of a training that a signal has stopped: its state is saved, start it again.

It is EX_TEMPFAIL of sysexits.h, "try again later", which neither a shell nor Python nor a signal
uses.
"""


@dataclasses.dataclass(frozen=True)
class Framing:
    """Which samples frames are made of; known of a front end before its network is there.

    |<---------- W ---------->|                  frame 0 sees samples 0 .. W - 1
    |---- H ---->|<---------- W ---------->|     frame 1 sees samples H .. H + W - 1
    """

    window: int
    """Samples W that one frame sees; shorter audio has no frame."""
    shift: int
    """Samples H from a frame to the next."""
    parts: int = 1
    """Equal parts that each frame is cut into, such as CTC outputs; it is these that are counted
    then, and that `seconds` and `rate` speak of."""

    @classmethod
    def of_convolutions(cls, layers: Iterable[tuple[int, int]]) -> Framing:
        """The frames of stacked convolutions without padding.

        Args:
            layers: (kernel, stride) of each; the first one reads samples.
        """
        window, shift = 1, 1
        for kernel, stride in layers:
            # Each further tap of this layer sees one shift of the layers below it more.
            window += (kernel - 1) * shift
            shift *= stride
        return cls(window, shift)

    @property
    def seconds(self) -> float:
        """From a frame to the next."""
        return self.shift / self.parts / SAMPLE_RATE

    @property
    def rate(self) -> float:
        """Frames a second."""
        return SAMPLE_RATE * self.parts / self.shift

    def frames(self, samples: Count) -> Count:
        """Number of frames of so many samples: (samples - W) // H + 1, or 0 if there is none.

        With more `parts` than one, that many times as many.

        Args:
            samples: a number, or a tensor or array of numbers.
        """
        whole = (samples >= self.window) * ((samples - self.window) // self.shift + 1)
        return whole * self.parts

    def samples(self, frames: int) -> int:
        """The fewest samples that so many frames (at least one) are made of."""
        return (-(-frames // self.parts) - 1) * self.shift + self.window

    def labels_per_frame(self, label_rate: int) -> int:
        """How many unit labels there are for each frame.

        Args:
            label_rate: labels a second.

        Raises:
            ValueError: it is no multiple of the frame rate.
        """
        ratio, rest = divmod(label_rate * self.shift, SAMPLE_RATE * self.parts)
        if rest:
            raise ValueError(
                f"label_rate: expected a multiple of the frame rate ({self.rate:g} Hz), "
                f"got {label_rate}"
            )
        return ratio


PAPER_FRAMING = Framing(WINDOW, 320)
"""25 ms windows, 20 ms apart: the front end of the paper, of wav2vec 2.0, HuBERT and WavLM."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a wrong one, for error messages; None: none are known."""
    found = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.0)
    return found[0] if found else None
