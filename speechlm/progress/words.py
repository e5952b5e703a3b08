"""What is said of work that is under way, and when it is said where no line can move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_INTERVALS_S = (10, 30, 60, 120, 300, 600, 1200, 1800, 3600)
"""When plain lines are written; after the last of these every hour."""
_BAR = 20
"""Characters of a bar."""


@dataclass(frozen=True)
class State:
    """How far a loop has come, or those of several jobs together.

    Attributes:
        what: its items, such as utterances.
        done: of them are behind it, with those of an earlier run.
        total: of them there are, as far as that is known.
        rate: items a second.
        more: what else is known, such as `loss 3.01`.
    """

    what: str
    done: float
    total: float | None = None
    rate: float = 0.0
    more: str = ""

    @property
    def share(self) -> float | None:
        """0 to 1; None: not known."""
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def left(self) -> float | None:
        """Seconds that are left, if it goes on as it did; None: not known, or all is done."""
        if self.total is None or self.rate <= 0 or self.done >= self.total:
            return None
        return max(0.0, self.total - self.done) / self.rate


def due_times() -> Iterator[float]:
    """Seconds after which a plain line is written, without end."""
    yield from map(float, _INTERVALS_S)
    last = float(_INTERVALS_S[-1])
    while True:
        last += _INTERVALS_S[-1]
        yield last


def clock(seconds: float) -> str:
    """Seconds as 0:07, 12:30, 3:05:00 or 2 d 3:05:00."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if not hours:
        return f"{minute}:{second:02d}"
    return (f"{days} d " if days else "") + f"{hour}:{minute:02d}:{second:02d}"


def speed(rate: float) -> str:
    """Items a second in words; below one a second: seconds an item."""
    if rate >= 1:
        return f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.1f} a second"
    each = 1 / rate
    return f"{each:.1f} s each" if each < 100 else f"{clock(each)} each"


def plain(state: State) -> str:
    """All that is known, for a log: `230 of 480 utterances (48 %), 12 a second, 0:20 left`."""
    return ", ".join(_parts(state))


def line(head: str, state: State, seconds: float, width: int) -> str:
    """One line of a terminal, at most `width` wide: with a bar if there is room, and cut if not.

    Args:
        head: what it begins with.
        state: what is known.
        seconds: since the work began, which move where items take long.
        width: columns.
    """
    head = f"{head} {clock(seconds)}"
    text = f"{head} | {plain(state)}"
    if state.share is not None and len(text) + _BAR + 3 <= width:
        full = int(state.share * _BAR)
        text = f"{head} [{'#' * full}{'.' * (_BAR - full)}] {plain(state)}"
    return cut(text, width)


def cut(text: str, width: int) -> str:
    """A text that fits into so many columns."""
    return text if len(text) <= width else (text[: max(0, width - 2)] + "..")[:width]


def printable(text: str) -> str:
    """A text of others as it can be shown: what could move a terminal's cursor is replaced."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _parts(state: State) -> list[str]:
    if state.total is None:
        parts = [f"{state.done:,.0f} {state.what}"]
    else:
        of = f"{state.done:,.0f} of {state.total:,.0f} {state.what}"
        parts = [f"{of} ({100 * (state.share or 0):.0f} %)"]
    if state.left is not None:
        parts.append(f"{clock(state.left)} left")
    if state.more:
        parts.append(state.more)
    if state.rate > 0:
        parts.append(speed(state.rate))
    return parts
