"""What came of each fault, as a table in Markdown."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What was done, and what came of it."""

    fault: str
    where: str
    """The stage and step that were under way."""
    said: str
    """What the run said, or how its processes ended."""
    afterwards: str
    """Whether the results are those of the run without faults."""
    good: bool

    def row(self) -> str:
        """Return the row of the table."""
        cells = (self.fault, self.where, self.said, self.afterwards)
        lines = (" ".join(cell.replace(" | ", ", ").split()) for cell in cells)
        return "| " + " | ".join(line.replace("|", "\\|") for line in lines) + " |"


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the table of outcomes."""
    head = ["| fault | where | what it said | afterwards |", "|---|---|---|---|"]
    return "\n".join([*head, *(outcome.row() for outcome in outcomes)]) + "\n"


def compare(wanted: dict[str, str], found: dict[str, str]) -> str:
    """Return "equal", or which files of the results are missing, new or others."""
    if wanted == found:
        return "equal"
    names = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
    return f"{len(names)} of {len(wanted)} files differ: {', '.join(names[:3])}"


def stay(left: int) -> str:
    """Return what is said of processes that have not ended by themselves."""
    return f"; {left} processes stay" if left else ""
