"""The dump stage as jobs on several machines: the plan, and a job for each part.

    TARGET/.parts/JOB.list       what a job checks: a line a file, in JSON
    TARGET/.parts/JOB.results    what became of it; the first line says by which rules

A job that is started again takes from its results what is as it was: files are read again only
where their size or time has changed. Copies are in TARGET/audio, and are kept as well. Lists and
results are streams, of which no more is in memory than what processes are at work on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import IO, Any

from speechlm.data.atomic import output_file, remove_leftovers, write_text
from speechlm.data.conversion import (
    RULES,
    AudioOptions,
    Recording,
    Result,
    prepare_file,
    prepare_parts,
)
from speechlm.data.format_options import FormatOptions
from speechlm.data.report import kept_report
from speechlm.data.segments import AudioRange, Segment
from speechlm.data.sorting import scratch, sort_lines
from speechlm.data.validate import REPORT, Checked, CheckedTables
from speechlm.progress import progress

PARTS = ".parts"
"""Folder of the parts inside a dump directory."""
AUDIO = "audio"
"""Folder of the copies inside a dump directory."""
_AT_ONCE = 16  # files that a process is given at a time
_WAITING = 8  # shares that wait for each process


@dataclass(frozen=True, slots=True)
class WholeFile:
    """An utterance that is all of a file."""

    utterance: str
    path: str


Item = WholeFile | Recording
_Entry = tuple[Item, "Found | None"]


@dataclass(frozen=True)
class Found:
    """What a job has found in a file."""

    path: str
    whole: bool
    """Whether it is the file of one utterance, and no recording of several."""
    state: str
    """See `AudioRange.state`; empty if it was not there."""
    results: dict[str, Result]

    @property
    def place(self) -> tuple[bool, str]:
        """Which ascends from file to file: whole files first, by their first utterances."""
        return not self.whole, next(iter(self.results))

    def holds(self, item: Item, state: str) -> bool:
        """Whether reading the file again would give the same: nothing of it is a copy."""
        names = item.parts.keys() if isinstance(item, Recording) else {item.utterance}
        in_place = all(r.kind or r.path == item.path for r in self.results.values())
        same = self.path == item.path and names == self.results.keys()
        return bool(state) and state == self.state and same and in_place


def plan_parts(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: FormatOptions,
    n_jobs: int,
) -> None:
    """Check the tables of `source` and say what each of so many jobs is to do.

    Results of other numbers of jobs are removed, and so are an older dump of `target`, which must
    not be read while its audio is replaced, and its copies of other audio.

    Raises:
        ValueError: there is no data directory, or `target` cannot be written; the report is
            written all the same.
    """
    room, places = Path(target), _Places()
    tables = read_source(source, target)
    folder = room / PARTS
    folder.mkdir(parents=True, exist_ok=True)
    lists = {f"{job}.list" for job in range(1, n_jobs + 1)}
    if {path.name for path in folder.glob("*.list")} != lists:
        shutil.rmtree(folder)
        folder.mkdir()
    with scratch(folder) as items:
        for item in _items(places.noted(kept_reading(tables, room)), folder):
            size = len(item.parts) if isinstance(item, Recording) else 1
            items.write(f"{size} {json.dumps(_listed(item))}\n".encode())
        (room / "wav.scp").unlink(missing_ok=True)
        places.forget_other_conversions(room / AUDIO, options)
        if (room / AUDIO).is_dir():
            remove_leftovers(room / AUDIO)
        items.seek(0)
        _write_lists(folder, items, places.n, n_jobs)


def read_source(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> CheckedTables:
    """The tables of `source`; `target`, which may be new, has room for them.

    Raises:
        ValueError: there is no data directory; the report is written all the same.
    """
    folder = Path(target)
    if folder.resolve() == Path(source).resolve():
        raise ValueError(f"two different directories expected, got {folder} twice")
    with kept_report(folder / REPORT):
        return CheckedTables(source, folder)


def kept_reading(tables: CheckedTables, target: Path) -> Iterator[Checked]:
    """The utterances of the tables; if one is wrong, the report is written."""
    with kept_report(target / REPORT):
        yield from tables


def prepare_part(
    target: str | os.PathLike[str], options: AudioOptions, job: int, n_processes: int = 1
) -> int:
    """Do what the plan has for a job.

    Returns:
        How many files were read; the others are as they were when the job ran before.

    Raises:
        ValueError: there is no plan.
    """
    folder, n_read = Path(target) / PARTS, 0
    place, path = folder / f"{job}.list", folder / f"{job}.results"
    if not place.is_file():
        raise ValueError(f"{place} expected, but it is not there; run format_data --plan first")
    work = partial(_look, folder=Path(target) / AUDIO, options=options)
    known = _with_known(_read_list(place), read_results(path, options))
    with output_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f"{json.dumps(_rules(options))}\n")
        results = _in_processes(work, known, n_processes)
        for found, new in progress(results, "audio files", _count_lines(place)):
            n_read += new
            file.write(f"{json.dumps(asdict(found))}\n")
    return n_read


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def read_results(path: Path, options: AudioOptions) -> Iterator[Found]:
    """What a job has found by these rules; nothing if they were others, or it has not run."""
    for found in raw_results(path, options):
        results = {u: result_of(fields) for u, fields in found.pop("results").items()}
        yield Found(**found, results=results)


def raw_results(path: Path, options: AudioOptions) -> Iterator[dict[str, Any]]:
    """The same as it is written: the fields of `Found`, and in it of each `Result`."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        if json.loads(file.readline()) == _rules(options):
            yield from map(json.loads, file)


def result_of(fields: dict[str, Any]) -> Result:
    """A result of its fields, as they are written."""
    segment = fields["segment"] and Segment(**fields["segment"])
    return Result(**fields | {"segment": segment, "fixed": tuple(fields["fixed"])})


class _Places:
    """Which recordings and parts of recordings utterances are made of.

    Attributes: `n`, how many utterances there are.
    """

    def __init__(self) -> None:
        self.n = 0
        self._folders: set[str] = set()
        self._segments = hashlib.sha256()

    def noted(self, utterances: Iterable[Checked]) -> Iterator[Checked]:
        """The utterances, whose places are remembered."""
        last = ""
        for found in utterances:
            self.n += 1
            folder = os.path.dirname(found.path)
            if folder != last:
                self._folders.add(folder)
                last = folder
            if found.segment is not None:
                self._segments.update(f"{found.utterance} {found.segment}\n".encode())
            yield found

    def forget_other_conversions(self, folder: Path, options: AudioOptions) -> None:
        """Remove what was converted with other options, or from other recordings or parts of them.

        Raises:
            ValueError: the folder has recordings that no conversion made, or that are to be read.
        """
        note = folder.with_name(".conversion")
        places = sorted({os.path.abspath(place) for place in self._folders})
        read_here = folder.is_dir() and any(_is_folder(place, folder) for place in places)
        if read_here or (not note.is_file() and any(folder.glob("*.flac"))):
            raise ValueError(
                f"{folder}: converted audio is written there, but it holds recordings already; "
                "choose another output folder"
            )
        digest = hashlib.sha256("\n".join(places).encode() + self._segments.digest()).hexdigest()
        wanted = (
            f"rules {RULES}, {options.rate} Hz, mixed {options.mix_channels},"
            f" recordings of {digest}\n"
        )
        if note.is_file() and note.read_text() == wanted:
            return
        for old in folder.glob("*.flac"):
            old.unlink()
        write_text(note, wanted)


def _is_folder(place: str, folder: Path) -> bool:
    try:
        return os.path.samefile(place, folder)
    except OSError:
        return False


def _items(utterances: Iterable[Checked], room: Path) -> Iterator[Item]:
    """Whole files in the order of their ids, then recordings in that of their first utterances."""
    numbers: dict[str, int] = {}
    with scratch(room) as parts:
        for found in utterances:
            if found.segment is None:
                yield WholeFile(found.utterance, found.path)
                continue
            number = numbers.setdefault(found.segment.recording, len(numbers))
            part = json.dumps([found.utterance, found.path, asdict(found.segment)])
            parts.write(f"{number:012} {part}\n".encode())
        parts.seek(0)
        for _, lines in groupby(sort_lines(parts, room, _number), _number):
            entries = [json.loads(line.partition(b" ")[2]) for line in lines]
            yield Recording(entries[0][1], {u: Segment(**fields) for u, _, fields in entries})


def _number(line: bytes) -> bytes:
    return line.partition(b" ")[0]


def _write_lists(folder: Path, items: IO[bytes], total: int, n_jobs: int) -> None:
    """Cut into runs with about as many utterances each; some may be empty."""
    done, lines = 0, iter(items)
    for job in range(1, n_jobs + 1):
        path = folder / f"{job}.list"
        with output_file(path) as temporary, temporary.open("wb") as file:
            while job == n_jobs or done * n_jobs < total * job:
                if (line := next(lines, None)) is None:
                    break
                size, _, item = line.partition(b" ")
                file.write(item)
                done += int(size)


def _listed(item: Item) -> dict[str, object]:
    if isinstance(item, WholeFile):
        return {"path": item.path, "utterance": item.utterance}
    return {"path": item.path, "parts": {u: asdict(s) for u, s in item.parts.items()}}


def _read_list(path: Path) -> Iterator[Item]:
    with path.open(encoding="utf-8") as file:
        for item in map(json.loads, file):
            if "parts" in item:
                parts = {u: Segment(**segment) for u, segment in item["parts"].items()}
                yield Recording(item["path"], parts)
            else:
                yield WholeFile(item["utterance"], item["path"])


def _with_known(
    items: Iterable[Item], known: Iterator[Found]
) -> Iterator[tuple[Item, Found | None]]:
    """Items with what was found in them before."""
    old = next(known, None)
    for item in items:
        first = item.utterance if isinstance(item, WholeFile) else next(iter(item.parts))
        place = isinstance(item, Recording), first
        while old is not None and old.place < place:
            old = next(known, None)
        yield item, old if old is not None and old.place == place else None


def _look(
    entry: tuple[Item, Found | None], folder: Path, options: AudioOptions
) -> tuple[Found, bool]:
    """What is found in a file, and whether it was read for that."""
    item, old = entry
    state = _state(item.path)
    if old is not None and old.holds(item, state):
        return old, False
    if isinstance(item, Recording):
        return Found(item.path, False, state, prepare_parts(item, folder, options)), True
    result = prepare_file(item.utterance, item.path, folder, options)
    return Found(item.path, True, state, {item.utterance: result}), True


def _in_processes(
    work: Callable[[_Entry], tuple[Found, bool]], entries: Iterable[_Entry], n: int
) -> Iterator[tuple[Found, bool]]:
    """The results of the work in the order of the entries, some of which are at work at a time."""
    if n <= 1:
        yield from map(work, entries)
        return
    waiting: deque[Future[list[tuple[Found, bool]]]] = deque()
    with ProcessPoolExecutor(n) as pool:
        for share in _shares(entries):
            waiting.append(pool.submit(_each, work, share))
            if len(waiting) > _WAITING * n:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _each(
    work: Callable[[_Entry], tuple[Found, bool]], share: list[_Entry]
) -> list[tuple[Found, bool]]:
    return [work(entry) for entry in share]


def _shares(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    """Some whole files each, or a recording."""
    for whole, group in groupby(entries, lambda entry: isinstance(entry[0], WholeFile)):
        while share := list(islice(group, _AT_ONCE if whole else 1)):
            yield share


def _rules(options: AudioOptions) -> dict[str, object]:
    """What else than the file decides what is found."""
    names = ("rate", "quick", "mix_channels")
    return {"rules": RULES, **{name: getattr(options, name) for name in names}}


def _state(path: str) -> str:
    try:
        return AudioRange(path).state()
    except OSError:
        return ""
