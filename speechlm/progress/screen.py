"""Lines that move, at the end of a terminal that several programs write to.

The cursor stays at the beginning of the lines. Whoever writes erases what is below it, writes, and
draws the lines anew: in one call, so that nothing comes between. No program need know what another
one has drawn.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from typing import TextIO

from speechlm.progress.words import cut

ERASE = "\r\x1b[J"
"""Clears a terminal from the cursor's line on."""


def is_terminal(stream: int | TextIO | None) -> bool:
    """Whether lines can move on a stream, or what has this descriptor."""
    try:
        terminal = (
            os.isatty(stream) if isinstance(stream, int) else bool(stream and stream.isatty())
        )
    except (OSError, ValueError):  # it is closed
        return False
    return terminal and os.environ.get("TERM", "") not in ("", "dumb")


def width_of(descriptor: int) -> int:
    """Columns of a terminal that can be written to without a line's breaking."""
    return max(1, _size(descriptor).columns - 1)


def _size(descriptor: int) -> os.terminal_size:
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return os.terminal_size((80, 24))
    # A terminal that nobody has told its size says 0.
    return os.terminal_size((size.columns or 80, size.lines or 24))


def draw(descriptor: int, lines: Sequence[str], text: bytes = b"") -> None:
    """Write a text (whole lines) and below it the lines that move, in place of those before.

    Raises:
        OSError: the terminal is gone.
    """
    room = max(1, _size(descriptor).lines - 2)
    shown = [cut(line, width_of(descriptor)) for line in lines]
    if len(shown) > room:
        shown = [*shown[: room - 1], f"and {len(shown) - room + 1} more"]
    back = f"\x1b[{len(shown) - 1}A" if len(shown) > 1 else ""
    block = "\r\n".join(shown) + back + "\r" if shown else ""
    data = ERASE.encode() + text + block.encode(errors="replace")
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # another program has told the terminal not to wait
            select.select([], [descriptor], [])
