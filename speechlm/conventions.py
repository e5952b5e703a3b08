"""What every room takes for granted: ids of special symbols, the sampling rate, windows of labels.

Imports nothing of the package, so that data and networks can agree without knowing each other.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
"""Symbols of the first rows of every vocabulary."""
BOS, PAD, EOS, UNK = range(len(SPECIALS))
"""Ids of these symbols: beginning, padding, end of a sentence, and what has no id of its own."""
BLANK = BOS
"""Id of the CTC blank; no target begins with <s>, so that its row is free."""

SAMPLE_RATE = 16000
"""Samples a second of all audio after the dump stage."""
WINDOW = 400
"""Samples (25 ms) that a frame label or a cepstral frame describes: of n samples there are
(n - 400) // shift + 1 labels, whatever the shift. A front end has a window of its own."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a wrong one, for error messages; None: none are known."""
    found = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.0)
    return found[0] if found else None
