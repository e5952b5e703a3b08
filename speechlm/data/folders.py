"""The folders of a corpus: its parts, and the files in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechlm.data.names import is_hidden, visible


def part_folders(corpus: str | os.PathLike[str], parts: Sequence[str], what: str) -> list[Path]:
    """The folders of a corpus's parts.

    Args:
        corpus: the folder that has them.
        parts: their names.
        what: what the corpus should be, for the message.

    Raises:
        ValueError: the corpus or a part is not there, no part is named, or one is named twice.
    """
    root = Path(corpus)
    if not root.is_dir():
        raise ValueError(f"{what} expected, but {root} is not a folder")
    if len(set(parts)) != len(parts) or not parts:
        raise ValueError(f"a list of different parts expected, got {' '.join(parts) or 'none'}")
    for part in parts:
        if not (root / part).is_dir():
            there = [path.name for path in visible(root.iterdir()) if path.is_dir()]
            raise ValueError(f"no part {part} in {root}; it has: {' '.join(there) or 'no parts'}")
    return [root / part for part in parts]


def files_below(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Files of a folder and of those in it, in sorted order, without hidden ones.

    Links to folders are followed, but none to a folder that has been walked through.
    """
    seen: set[str] = set()
    for place, subfolders, files in os.walk(folder, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above it
            subfolders.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in sorted(files) if not is_hidden(name))
