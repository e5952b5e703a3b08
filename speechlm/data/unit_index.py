"""Where the unit labels of a data directory's utterances are, by number: `UnitIndex`.

The file of columns .NAME.idx beside NAME.scp has a row for each utterance of the data directory.
It is made when it is missing or of other versions of NAME.scp, of an archive or of the directory.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from speechlm.data.archives import n_labels, read_unit_info
from speechlm.data.ark_vectors import ArkVectors
from speechlm.data.columns import (
    Columns,
    State,
    open_columns,
    portions,
    state_of,
    stored_or_made,
    write_columns,
)
from speechlm.data.table_blocks import TableBlock, cut_out, numbers, table_blocks
from speechlm.data.utterances import Ids, Utterances

_KINDS = {"archive": "<i4", "offset": "<i8", "labels": "<i4"}
NONE = -1
"""Number of the archive of an utterance that has no units, and of labels where no vector is."""


class _Entries(NamedTuple):
    """Lines of NAME.scp: ids, numbers of archives, bytes where vectors start; (n,) each."""

    ids: np.ndarray
    archives: np.ndarray
    offsets: np.ndarray

    def part(self, start: int | None, stop: int | None) -> _Entries:
        return _Entries(*(column[start:stop] for column in self))

    def joined(self, more: _Entries) -> _Entries:
        return _Entries(*(np.concatenate(pair) for pair in zip(self, more, strict=True)))


class UnitIndex:
    """Unit labels of the utterances of a data directory.

    Args:
        folder: of the units.
        utterances: of the data directory.
        name: of the archives.

    Attributes: `archives`, the paths; mapped columns (n,), a row an utterance: `archive`, the
    number of its archive, or -1; `offset`, the byte where its labels start; `labels`, how many
    there are, or -1 where no vector starts.

    Raises:
        ValueError: a file is missing, or NAME.scp is wrong; it is named.
    """

    def __init__(
        self, folder: str | os.PathLike[str], utterances: Utterances, name: str = "units"
    ) -> None:
        self.scp = Path(folder) / f"{name}.scp"
        if not self.scp.is_file():
            raise ValueError(f"archive index expected, but {self.scp} is not there")
        self._utterances = utterances
        self._paths: dict[bytes, int] = {}
        self.columns = stored_or_made(
            self.scp.with_name(f".{name}.idx"), self._stored, self._make, self.scp
        )
        self.archives = [self._found(path) for path in self.columns.note["archives"]]
        self.archive = self.columns["archive"]
        self.offset = self.columns["offset"]
        self.labels = self.columns["labels"]

    def strangers(self) -> Iterator[str]:
        """The ids of units of no utterance."""
        if self.columns.note["strangers"]:
            for _, entries, found, _ in self._joined():
                yield from (name.decode() for name in entries.ids[~found].tolist())

    def _state(self) -> State:
        return state_of({self.scp.name: self.scp}) | self._utterances.columns.sources

    def _stored(self, path: Path) -> Columns | None:
        columns = open_columns(path, self._state())
        if columns is None:
            return None
        archives = {name: self._found(name) for name in columns.note["archives"]}
        try:
            return columns if state_of(archives) == columns.note["archives"] else None
        except FileNotFoundError:
            return None

    def _found(self, path: str) -> Path:
        """An archive, which is looked for beside the scp if it is not where this says."""
        return Path(path) if Path(path).is_file() else self.scp.parent / Path(path).name

    def _make(self, file: IO[bytes]) -> None:
        self._paths = {}
        note: dict[str, Any] = {"archives": {}, "strangers": 0}
        n, sources = len(self._utterances), self._state()
        write_columns(file, n, _KINDS, self._rows(note), sources, note)

    def _rows(self, note: dict[str, Any]) -> Iterator[dict[str, np.ndarray]]:
        vectors: dict[int, ArkVectors] = {}
        for block, entries, found, places in self._joined():
            note["strangers"] += int((~found).sum())
            own = _Entries(*(column[found] for column in entries))
            labels = np.zeros(len(own.ids), np.int64)
            for number in np.unique(own.archives).tolist():
                chosen = own.archives == number
                if number not in vectors:
                    vectors[number] = self._open(number, own.ids[chosen][0], note)
                labels[chosen] = vectors[number].counts(own.offsets[chosen])
            if block is None:
                continue
            row = {name: np.zeros(len(block), kind) for name, kind in _KINDS.items()}
            row["archive"][:] = NONE
            columns = (own.archives, own.offsets, labels)
            for column, values in zip(row.values(), columns, strict=True):
                column[places[found]] = values
            yield row

    def _open(self, number: int, utterance: bytes, note: dict[str, Any]) -> ArkVectors:
        path = list(self._paths)[number].decode()
        ark = self._found(path)
        if not ark.is_file():
            raise ValueError(f"{self.scp}: archive {path} of {utterance.decode()} is not there")
        note["archives"] |= state_of({path: ark})
        return ArkVectors(ark)

    def _joined(self) -> Iterator[tuple[TableBlock | None, _Entries, np.ndarray, np.ndarray]]:
        """Utterances some at a time with the entries up to the last of them.

        Yields:
            Lines of the utterances (None: the entries behind all of them), the entries, whether
            each has an utterance, and its place among these.
        """
        blocks = table_blocks(self.scp)
        held = _Entries(np.empty(0, "S1"), np.empty(0, np.int64), np.empty(0, np.int64))
        for block in self._utterances.blocks():
            last = block.ids[-1]
            while not len(held.ids) or held.ids[-1] <= last:
                if (more := next(blocks, None)) is None:
                    break
                held = held.joined(self._entries(more))
            cut = int(np.searchsorted(held.ids, last, "right"))
            entries, held = held.part(None, cut), held.part(cut, None)
            places = np.searchsorted(block.ids, entries.ids)
            yield block, entries, block.ids[places] == entries.ids, places
        while len(held.ids):
            nowhere = np.zeros(len(held.ids), np.int64)
            yield None, held, nowhere > 0, nowhere
            more = next(blocks, None)
            held = held.part(0, 0) if more is None else self._entries(more)

    def _entries(self, block: TableBlock) -> _Entries:
        """Cut up `path:offset`.

        Raises:
            ValueError: an entry is none.
        """
        starts = block.blanks + 1
        colons = np.append(-1, np.flatnonzero(block.text == ord(":")))
        last = colons[np.searchsorted(colons, block.stops) - 1]  # before the end of the line
        offsets = numbers(block.text, last + 1, block.stops)
        wrong = np.flatnonzero((last <= starts) | (offsets < 0))
        if len(wrong):
            utterance, entry = block.ids[wrong[0]].decode(), block.values[wrong[0]].decode()
            raise ValueError(f"{self.scp}: `path:offset` expected for {utterance}, got {entry!r}")
        paths = cut_out(block.file, block.text, starts, last)
        # utterances that follow each other are mostly in one archive: runs of equal paths
        heads = np.flatnonzero(np.append(True, paths[1:] != paths[:-1]))
        known = [self._paths.setdefault(path, len(self._paths)) for path in paths[heads].tolist()]
        archives = np.repeat(known, np.diff(np.append(heads, len(paths))))
        return _Entries(block.ids, archives, offsets)


def check_units(
    folder: str | os.PathLike[str],
    data_dir: str | os.PathLike[str],
    skipped: Collection[str] = (),
    name: str = "units",
) -> dict[str, str]:
    """Compare unit archives with the audio: {id: what is wrong}, empty if all is well.

    Every utterance needs (n_samples - 400) // shift + 1 labels, all of them known to tokens.txt.

    Args:
        folder: of the units.
        data_dir: the data directory, with utt2num_samples.
        skipped: ids of utterances that need no units, and must have none.
        name: of the archives.

    Raises:
        ValueError: a file is missing or wrong.
    """
    shift, tokens = read_unit_info(folder)
    utterances = Utterances(data_dir)
    index = UnitIndex(folder, utterances, name)
    vectors = [ArkVectors(ark) for ark in index.archives]
    problems: dict[int, str] = {}
    for start, stop in portions(len(utterances)):
        archive, offset, labels = (index.columns.read(key, start, stop) for key in _KINDS)
        expected = n_labels(utterances.columns.read("samples", start, stop), shift)
        for row in np.flatnonzero(archive == NONE).tolist():
            problems[start + row] = "no units"
        for row in np.flatnonzero((archive != NONE) & (labels == NONE)).tolist():
            problems[start + row] = f"no vector of labels at byte {offset[row]} of its archive"
        there = (archive != NONE) & (labels != NONE)
        for row in np.flatnonzero(there & (labels != expected)).tolist():
            problems[start + row] = f"{expected[row]} labels expected, found {labels[row]}"
        for number in np.unique(archive[archive != NONE]).tolist():
            rows = np.flatnonzero((archive == number) & (labels == expected))
            least, most = vectors[number].ranges(offset[rows])
            odd = np.where(least < 0, least, most)
            for place in np.flatnonzero((least < 0) | (most >= len(tokens))).tolist():
                problems[start + int(rows[place])] = (
                    f"labels 0..{len(tokens) - 1} expected, found {odd[place]}"
                )
    return _named(problems, index, utterances, skipped)


def _named(
    problems: dict[int, str], index: UnitIndex, utterances: Utterances, skipped: Collection[str]
) -> dict[str, str]:
    """The problems by ids; whatever has been skipped must have no units."""
    ids = Ids(utterances, range(len(utterances)))
    for utterance in skipped:
        row = bisect_left(ids, utterance)
        if row < len(ids) and ids[row] == utterance:
            problems.pop(row, None)
            if index.archive[row] != NONE:
                problems[row] = "units of no utterance"
    named = {utterances.id(row): what for row, what in problems.items()}
    named |= dict.fromkeys(index.strangers(), "units of no utterance")
    return dict(sorted(named.items()))
