"""The utterances of a data directory by number, for directories of any size: `Utterances`.

Ids and paths stay in their tables. A file of columns beside them, .utterances.idx, says where each
utterance's line starts, and how many samples it has; it is made when it is missing or of other
versions of the tables. Who needs all tables of a directory in memory reads a `DataDir`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol, overload

import numpy as np

from speechlm.data.columns import open_columns, portions, state_of, stored_or_made, write_columns
from speechlm.data.dir_checks import check_dir
from speechlm.data.kaldi_dir import NO_SAMPLES, parse_line
from speechlm.data.segments import SEGMENTS, AudioRange, Segment, SegmentError
from speechlm.data.table_blocks import TableBlock, count_lines, has_command, numbers, table_blocks

INDEX = ".utterances.idx"
"""Name of the columns inside a data directory."""
_LINE = 4096  # bytes that are read of a line at first
_KINDS = {"line": "<i8", "samples": "<i8"}
_OF_PARTS = {"path": "<i8", "start": "<i8"}


class Utterances:
    """The utterances of a data directory that has utt2num_samples, sorted by id.

    Args:
        folder: the directory.

    Attributes: `samples` (n,) int64, mapped, samples of each utterance.

    Raises:
        ValueError: a table is missing or wrong; as `DataDir.read`, which says what is.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        parts = (self.folder / SEGMENTS).exists()
        self.table = self.folder / (SEGMENTS if parts else "wav.scp")
        """The table that has a line for each utterance."""
        names = ("wav.scp", "utt2num_samples", *((SEGMENTS,) if parts else ()))
        self._sources = {name: self.folder / name for name in names}
        if not all(path.is_file() for path in self._sources.values()):
            self._explain()
        self._lines, self._paths = FileIO(self.table), FileIO(self.folder / "wav.scp")
        self.columns = stored_or_made(
            self.folder / INDEX,
            lambda path: open_columns(path, state_of(self._sources)),
            self._make,
            self.table,
        )
        self.samples = self.columns["samples"]

    def __len__(self) -> int:
        return len(self.columns)

    def id(self, row: int) -> str:
        """The id of an utterance."""
        return self._line(self._lines, self.columns.value("line", row))[0]

    def audio(self, row: int) -> AudioRange:
        """Where the samples of an utterance are, with their number."""
        column = "path" if "path" in self.columns else "line"
        path = self._line(self._paths, self.columns.value(column, row))[1]
        start = self.columns.value("start", row) if "start" in self.columns else 0
        return AudioRange(path).part(start, self.columns.value("samples", row))

    def total_samples(self) -> int:
        """Samples of all utterances together."""
        read = (self.columns.read("samples", *rows) for rows in portions(len(self)))
        return sum(int(samples.sum()) for samples in read)

    def blocks(self) -> Iterator[TableBlock]:
        """The lines of all utterances, some at a time."""
        return table_blocks(self.table)

    def _line(self, file: FileIO, at: int) -> tuple[str, str]:
        """The id and the value of the line at a place of a table."""
        size = _LINE
        while True:
            line, end, _ = os.pread(file.fileno(), size, at).partition(b"\n")
            if end or len(line) < size:
                return parse_line(line.decode(), f"{file.name}, byte {at}")
            size *= 2

    def _make(self, file: IO[bytes]) -> None:
        """Write the columns.

        Raises:
            ValueError: what `check_dir` says of tables that do not go together.
        """
        sources, parts = state_of(self._sources), self.table.name == SEGMENTS
        n = count_lines(self.table)
        kinds = _KINDS | (_OF_PARTS if parts else {})
        rows = self._rows(self._recordings() if parts else None)
        if n == 0:
            self._explain()
        write_columns(file, n, kinds, rows, sources)

    def _rows(self, recordings: dict[bytes, int] | None) -> Iterator[dict[str, np.ndarray]]:
        lengths = table_blocks(self.folder / "utt2num_samples")
        ids, samples = np.empty(0, "S1"), np.empty(0, np.int64)
        for block in self.blocks():
            while len(ids) < len(block) and (more := next(lengths, None)) is not None:
                ids = np.concatenate([ids, more.ids])
                found = numbers(more.text, more.blanks + 1, more.stops)
                samples = np.concatenate([samples, found])
            own, count = samples[: len(block)], len(block)
            if not np.array_equal(ids[:count], block.ids) or (own < 0).any():
                self._explain()
            row = {"line": block.at, "samples": own}
            if recordings is None:
                self._check_paths(block)
            else:
                row |= self._parts(block, recordings)
            yield row
            ids, samples = ids[count:], samples[count:]
        if len(ids) or next(lengths, None) is not None:
            self._explain()

    def _recordings(self) -> dict[bytes, int]:
        """Where the lines of recordings start in wav.scp."""
        places: dict[bytes, int] = {}
        for block in table_blocks(self.folder / "wav.scp"):
            self._check_paths(block)
            places.update(zip(block.ids.tolist(), block.at.tolist(), strict=True))
        return places

    def _parts(self, block: TableBlock, recordings: dict[bytes, int]) -> dict[str, np.ndarray]:
        paths, starts = [], []
        for value in block.values.tolist():
            try:
                segment = Segment.parse(value.decode())
                paths.append(recordings[segment.recording.encode()])
            except (SegmentError, KeyError):
                self._explain()
            starts.append(segment.samples()[0])
        return {"path": np.array(paths, np.int64), "start": np.array(starts, np.int64)}

    def _check_paths(self, block: TableBlock) -> None:
        if has_command(block):
            self._explain()

    def _explain(self) -> NoReturn:
        """ValueError that says what is wrong with the tables."""
        check_dir(self.folder)
        if not (self.folder / "utt2num_samples").exists():
            raise ValueError(NO_SAMPLES)
        raise ValueError(f"{self.folder}: a table changed while it was read; start again")


class Rows(Protocol):
    """Numbers of rows by index."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: Any, /) -> Any:
        """A row, or several."""


class Ids(Sequence[str]):
    """The ids of some utterances, by their rows; they are read when they are asked for."""

    def __init__(self, utterances: Utterances, rows: Rows) -> None:
        self._utterances, self._rows = utterances, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._utterances.id(int(row)) for row in self._rows[index]]
        return self._utterances.id(int(self._rows[index]))
