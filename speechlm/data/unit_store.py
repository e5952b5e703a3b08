"""Hidden units of every line of a text corpus, by line number: int16, memory-mapped.

    store.json         lines and bytes of the text, lines of a chunk, and how the units were made
    tokens.txt, frame_shift   of the units
    chunks/NNNNNN.units       units of `chunk_lines` lines, see below
    chunks/NNNNNN.json        lines that have none (with the reason), words not in the lexicon

A chunk is HEADER uint64 words, then uint64 (lines + 1,) where each line's units start, then int16
units. It appears under its name when it is complete, so that an interrupted generation goes on
with the chunks that are missing. A line that has no units was left out.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from speechlm.data.archives import read_unit_info, write_unit_info
from speechlm.data.atomic import output_file, write_text
from speechlm.data.text_corpus import TextCorpus
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.data.whole_files import read_json, reading

HEADER = 5
"""Words: magic, first line, lines, units, CRC-32 of the lines' text."""
MOST_TOKENS = 1 << 15
_MAGIC = int.from_bytes(b"SLMUNIT1", "little")
_OPEN_CHUNKS = 128


class ChunkProblem(ValueError):
    """A chunk is missing, damaged, or of another text."""


class OtherStore(ValueError):
    """A folder holds units of another text, or made in another way."""


class UnitStore:
    """A store that is being made, or is complete.

    Args:
        folder: of the store.

    Raises:
        ValueError: the folder holds no store.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        path = self.folder / "store.json"
        advice = "generate_text_units makes units of a text"
        values = read_json(path, "description of units", advice)
        with reading(path, "description of units", advice):
            self.lines, self.text_bytes = int(values["lines"]), int(values["bytes"])
            self.chunk_lines = int(values["chunk_lines"])
            if self.lines < 0 or self.chunk_lines < 1:
                raise ValueError(f"{self.lines} lines, {self.chunk_lines} a chunk")
            self.made_with: dict[str, Any] = dict(values["made_with"])
        self.frame_shift, self.units = read_unit_info(self.folder)
        self._chunk = lru_cache(_OPEN_CHUNKS)(self._open)

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        corpus: TextCorpus,
        units: UnitVocabulary,
        frame_shift: float,
        chunk_lines: int,
        made_with: Mapping[str, Any],
    ) -> UnitStore:
        """The store in a folder, made if it is not there; any number of jobs may do so.

        Raises:
            OtherStore: the folder holds units of another text, or made in another way.
            ValueError: more tokens than fit into 16 bits.
        """
        path = Path(folder)
        if len(units) > MOST_TOKENS:
            raise ValueError(f"{units.source}: {MOST_TOKENS} units at most, got {len(units)}")
        if chunk_lines < 1:
            raise ValueError(f"{chunk_lines} lines a chunk: at least 1 expected")
        values = {
            "lines": len(corpus),
            "bytes": corpus.path.stat().st_size,
            "chunk_lines": chunk_lines,
            "made_with": dict(made_with),
        }
        if (path / "store.json").exists():
            store = cls(path)
            there = {
                "lines": store.lines,
                "bytes": store.text_bytes,
                "chunk_lines": store.chunk_lines,
                "made_with": store.made_with,
            }
            wrong = [name for name in values if values[name] != there[name]]
            if wrong:
                shown = "; ".join(f"{n}: {there[n]}, now {values[n]}" for n in wrong)
                raise OtherStore(
                    f"{path} holds units of another text or made in another way ({shown}); "
                    "remove it, or choose another folder"
                )
            store.units.check_same(units)
            return store
        write_unit_info(path, frame_shift, units.symbols, units.origin)
        (path / "chunks").mkdir(exist_ok=True)
        write_text(path / "store.json", json.dumps(values, indent=1) + "\n")
        return cls(path)

    @staticmethod
    def remove(folder: str | os.PathLike[str]) -> None:
        """Remove the store in a folder; other files stay."""
        path = Path(folder)
        shutil.rmtree(path / "chunks", ignore_errors=True)  # first: none may outlive the store
        (path / "store.json").unlink()

    @property
    def n_chunks(self) -> int:
        """Chunks of the whole text."""
        return -(-self.lines // self.chunk_lines)

    def lines_of(self, chunk: int) -> range:
        """Numbers of a chunk's lines."""
        start = chunk * self.chunk_lines
        return range(start, min(start + self.chunk_lines, self.lines))

    def path(self, chunk: int, suffix: str = ".units") -> Path:
        """File of a chunk."""
        return self.folder / "chunks" / f"{chunk:06d}{suffix}"

    def missing(self) -> list[int]:
        """Chunks that are not there."""
        there = {entry.name for entry in os.scandir(self.folder / "chunks")}
        return [c for c in range(self.n_chunks) if self.path(c).name not in there]

    def write(
        self, chunk: int, text: Sequence[str], rows: Sequence[np.ndarray], about: ChunkReport
    ) -> None:
        """Store a chunk: labels (U,) of each of its lines, empty for those left out."""
        numbers = self.lines_of(chunk)
        if len(rows) != len(numbers) or len(text) != len(numbers):
            raise ValueError(f"chunk {chunk} has {len(numbers)} lines, got {len(rows)}")
        starts = np.cumsum([0, *map(len, rows)]).astype(np.uint64)
        labels = np.concatenate([np.zeros(0, np.int64), *rows])
        self.units.to_model_ids(labels)  # in range
        head = [_MAGIC, numbers.start, len(numbers), len(labels), _checksum(text)]
        write_text(self.path(chunk, ".json"), about.to_json() + "\n")
        with output_file(self.path(chunk)) as path, path.open("wb") as file:
            file.write(np.array(head, np.uint64).tobytes())
            file.write(starts.tobytes())
            file.write(labels.astype(np.int16).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def report(self, chunk: int) -> ChunkReport:
        """What was left out of a chunk."""
        path = self.path(chunk, ".json")
        try:
            return ChunkReport.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ChunkProblem(f"{path} is missing or damaged ({error!r})") from None

    def count(self, chunk: int) -> int:
        """Units of a chunk."""
        return int(self._words(chunk)[3])

    def __len__(self) -> int:
        return self.lines

    def __getitem__(self, line: int) -> np.ndarray:
        """Labels (U,) int16 of a line, a view of the file; empty if it was left out.

        Raises:
            ChunkProblem: its chunk is missing or damaged.
        """
        if not 0 <= line < self.lines:
            raise IndexError(f"line {line} of {self.folder}, which has {self.lines} lines")
        chunk, place = divmod(int(line), self.chunk_lines)
        starts, units = self._chunk(chunk)
        return units[int(starts[place]) : int(starts[place + 1])]

    def counts(self, lines: np.ndarray) -> np.ndarray:
        """Units of lines by number, (n,) int64 each; a chunk is opened once for all its lines.

        Raises:
            ChunkProblem: a chunk is missing or damaged.
        """
        counts = np.empty(len(lines), np.int64)
        chunks, places = np.divmod(lines, self.chunk_lines)
        for chunk in np.unique(chunks):
            chosen = chunks == chunk
            starts, _ = self._chunk(int(chunk))
            counts[chosen] = starts[places[chosen] + 1] - starts[places[chosen]]
        return counts

    def check_chunk(self, chunk: int, text: Sequence[str]) -> None:
        """ChunkProblem unless the chunk is whole and was made of this text."""
        words = self._words(chunk)
        if int(words[4]) != _checksum(text):
            raise ChunkProblem(f"{self.path(chunk)} was made of other sentences; remove it")

    def check(self, corpus: TextCorpus) -> None:
        """Make sure that the store is complete and belongs to this text.

        Compared are the text's size, its number of lines, and the sentences of the first and the
        last chunk.

        Raises:
            ValueError: chunks are missing, or the store is of another text.
        """
        size = corpus.path.stat().st_size
        if (len(corpus), size) != (self.lines, self.text_bytes):
            raise ValueError(
                f"{self.folder} has units of a text of {self.lines} lines and {self.text_bytes} "
                f"bytes, {corpus.path} has {len(corpus)} lines and {size} bytes; "
                "generate units of this text"
            )
        missing = self.missing()
        if missing:
            first = self.lines_of(missing[0])
            raise ValueError(
                f"{self.folder}: {len(missing)} of {self.n_chunks} chunks are missing, the first "
                f"is that of lines {first.start + 1} to {first.stop}; generate_text_units goes on"
            )
        for chunk in {0, self.n_chunks - 1}:
            self.check_chunk(chunk, corpus.lines(self.lines_of(chunk)))

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(UnitStore(state["folder"])))

    def _words(self, chunk: int) -> np.ndarray:
        """Header and starts of a chunk, checked against the file's size."""
        path, numbers = self.path(chunk), self.lines_of(chunk)
        if not path.is_file():
            raise ChunkProblem(f"{path} expected, but it is not there; generate_text_units goes on")
        count = HEADER + len(numbers) + 1
        size = path.stat().st_size
        words = np.fromfile(path, np.uint64, count) if size >= 8 * count else np.zeros(0)
        fits = len(words) == count and (
            (int(words[0]), int(words[1]), int(words[2])) == (_MAGIC, numbers.start, len(numbers))
            and int(words[-1]) == int(words[3])
            and size == 8 * count + 2 * int(words[3])
        )
        if not fits:
            raise ChunkProblem(f"{path} is damaged or of another store; remove it and generate it")
        return words

    def _open(self, chunk: int) -> tuple[np.ndarray, np.ndarray]:
        """Starts and units of a chunk."""
        starts = self._words(chunk)[HEADER:]
        if not starts[-1]:
            return starts, np.zeros(0, np.int16)
        offset = 8 * (HEADER + len(starts))
        return starts, np.memmap(self.path(chunk), np.int16, "r", offset).view(np.ndarray)


class ChunkReport:
    """Lines left out, with the reason, and how often the lexicon lacked which word."""

    def __init__(
        self, dropped: Mapping[int, str] | None = None, unknown: Mapping[str, int] | None = None
    ) -> None:
        self.dropped, self.unknown = dict(dropped or {}), Counter(unknown or {})

    def to_json(self) -> str:
        """As a line of JSON."""
        return json.dumps({"dropped": self.dropped, "unknown": self.unknown})

    @classmethod
    def from_json(cls, text: str) -> ChunkReport:
        """What `to_json` wrote."""
        values = json.loads(text)
        return cls({int(n): str(why) for n, why in values["dropped"].items()}, values["unknown"])


def _checksum(text: Sequence[str]) -> int:
    return zlib.crc32("\n".join(text).encode())
