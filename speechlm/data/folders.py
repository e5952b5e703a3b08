"""Walking through the folders of a corpus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from speechlm.data.names import is_hidden


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
