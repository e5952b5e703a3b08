"""Tables and names in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(
    r"[\\|*`~$]"  # tables, emphasis, code, strike-through, formulas
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore at a word's border: emphasis
    r"|<(?=[A-Za-z/!?])|&(?=[#A-Za-z])"  # tags, entities
    r"|(?<=\])[(\[:]"  # what makes brackets a link
)


def escape(text: str) -> str:
    """A name or sentence as it shall be read: nothing in it is markup, and it is one line."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def code(text: str) -> str:
    """A command or a name as code, in more backticks than it has in a row itself."""
    text = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, each line ended; markup in cells is escaped, as names may have it."""
    lines = [_row(header), "|---" * len(header) + "|", *map(_row, rows)]
    return "".join(f"{line}\n" for line in lines)


def _row(cells: Sequence[str]) -> str:
    return "|" + "|".join(map(escape, cells)) + "|"
