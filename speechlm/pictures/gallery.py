"""The section of a report that shows pictures, and says which there are not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from speechlm.pictures.look import read_about
from speechlm.score.markdown import escape


def show_pictures(
    files: Sequence[str], missing: Sequence[Sequence[str]], folder: str | os.PathLike[str]
) -> str:
    """Markdown with links to pictures, each with its caption.

    Args:
        files: PNG files of `look.sheet`.
        missing: what there could be and is not, and the reason.
        folder: that of the report, from which the links go.

    Raises:
        ValueError: a file is no picture.
    """
    parts = []
    for file in files:
        about = read_about(file)
        link = Path(os.path.relpath(file, folder)).as_posix()
        parts.append(f"![{escape(about.title)}]({link})")
        parts.append(f"**{escape(about.title)}.** {escape(about.caption)}")
    if missing:
        listed = "".join(f"- {escape(what)}: {escape(why)}\n" for what, why in missing)
        parts.append(f"Not drawn:\n\n{listed}")
    return "\n\n".join(parts)
