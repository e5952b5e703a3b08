"""A few utterances of large archives: tables are read line by line, and little of them is kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from speechlm.data.archives import ArchiveReader
from speechlm.data.kaldi_dir import table_lines


class Contains(Protocol):
    """What knows whether it has an utterance."""

    def __contains__(self, utterance: str, /) -> bool: ...


class SomeArrays(ArchiveReader):
    """Arrays of a folder's `units.scp`, of at most so many utterances, chosen evenly.

    Args:
        folder: of the archives.
        most: utterances.
        among: only of these; None: of all.

    Raises:
        ValueError: there is no table, or none of the utterances is in it.
    """

    def __init__(
        self, folder: str | os.PathLike[str], most: int, among: Contains | None = None
    ) -> None:
        self.scp = Path(folder) / "units.scp"
        if not self.scp.is_file():
            raise ValueError(f"archive index expected, but {self.scp} is not there")
        count = sum(among is None or u in among for u, _ in table_lines(self.scp))
        if not count:
            raise ValueError(f"{self.scp} has none of the utterances that are wanted")
        # Numbers of those that are taken: all, or n count / most for n = 0 .. most - 1
        taken = {n * count // most for n in range(most)} if count > most else None
        self._index: dict[str, str] = {}
        number = 0
        for utterance, entry in table_lines(self.scp):
            if among is None or utterance in among:
                if taken is None or number in taken:
                    self._index[utterance] = entry
                number += 1
