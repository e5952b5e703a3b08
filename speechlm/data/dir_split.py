"""Cutting data directories of any size into parts, for jobs side by side.

Lines are copied from table to table, some ten thousand at a time. What is in memory grows with the
speakers, where these are kept together, and with the recordings, where utterances are parts of
some.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from speechlm.data.atomic import output_file
from speechlm.data.columns import portions
from speechlm.data.dir_checks import check_dir
from speechlm.data.kaldi_dir import translation_files
from speechlm.data.segments import SEGMENTS
from speechlm.data.sorting import sort_lines
from speechlm.data.table_blocks import TableBlock, count_lines, cut_out, has_command, table_blocks
from speechlm.data.utterances import Utterances

_Sizes = Callable[[int, int], np.ndarray]
"""(start, stop) -> (stop - start,) sizes of items start .. stop - 1."""


class _Cuts(NamedTuple):
    """Runs of utterances that go into a part each: first row, number of the part; (m,) each."""

    starts: np.ndarray
    parts: np.ndarray
    n_parts: int


def write_parts(source: Path, target: Path, n: int, by_speaker: bool = False) -> int:
    """Write parts of a data directory as target/1 ... target/N; returns N, which is at most n.

    Parts are of about equal audio length (without utt2num_samples, of equally many utterances), in
    the order of the ids. No part is empty: there are fewer if there are fewer utterances, or fewer
    speakers, when whole speakers are kept together; these are in the order of their first
    utterances.

    Raises:
        ValueError: n is less than 1; the directory is wrong, as `DataDir.read` says it.
    """
    if n < 1:
        raise ValueError(f"a number of parts of at least 1 expected, got {n}")
    main = source / (SEGMENTS if (source / SEGMENTS).exists() else "wav.scp")
    samples, others = source / "utt2num_samples", [source / "text"]
    # Without numbers of samples no index of the utterances is made, which checks the segments.
    plain = samples.exists() or main.name != SEGMENTS
    if not (plain and main.is_file() and main.stat().st_size and (source / "utt2spk").is_file()):
        check_dir(source)
    others += [samples, *translation_files(source).values()]
    tables = [main, source / "utt2spk", *(table for table in others if table.exists())]
    n_rows, sizes = _utterances(source, main, samples.exists())
    cuts = (_cuts_of_speakers if by_speaker else _cuts)(source, n_rows, sizes, n)
    parts = [target / str(number) for number in range(1, cuts.n_parts + 1)]
    for part in parts:
        part.mkdir()
    if len({_distribute(table, cuts, parts) for table in tables}) > 1:
        check_dir(source)
        raise ValueError(f"{source}: a table changed while it was read; start again")
    if main.name == SEGMENTS:
        _distribute_recordings(source, parts)
    for part in parts:
        write_spk2utt(part)
    return len(parts)


def write_spk2utt(folder: Path) -> None:
    """Write spk2utt of a folder's utt2spk.

    Raises:
        ValueError: utt2spk is not there, or wrong.
    """
    with output_file(folder / "spk2utt") as path:
        if not _write_groups(path, _speakers(folder)):
            lines = (b"".join((s, b" ", u, b"\n")) for s, ids in _speakers(folder) for u in ids)
            sorted_lines = sort_lines(lines, folder, lambda line: line.partition(b" ")[0])
            pairs = (line[:-1].split(b" ", 1) for line in sorted_lines)
            _write_groups(path, ((speaker, [utterance]) for speaker, utterance in pairs))


def _write_groups(path: Path, groups: Iterator[tuple[bytes, list[bytes]]]) -> bool:
    """Write utterances by speakers; False, if these do not come in order."""
    last = b""
    with path.open("wb") as file:
        for speaker, ids in groups:
            if speaker < last:
                return False
            if speaker != last:
                file.write((b"\n" if last else b"") + speaker)
                last = speaker
            file.write(b" " + b" ".join(ids))
        file.write(b"\n")
    return True


def _speakers(folder: Path) -> Iterator[tuple[bytes, list[bytes]]]:
    """Speakers, with utterances that follow each other."""
    for block in table_blocks(folder / "utt2spk"):
        speakers, ids = block.values, block.ids.tolist()
        heads = np.flatnonzero(np.append(True, speakers[1:] != speakers[:-1])).tolist()
        for start, stop in zip(heads, [*heads[1:], len(ids)], strict=True):
            yield speakers[start].item(), ids[start:stop]


def _utterances(source: Path, main: Path, counted: bool) -> tuple[int, _Sizes]:
    """Number and sizes of the utterances."""
    if not counted:
        return count_lines(main), lambda start, stop: np.ones(stop - start, np.int64)
    columns = Utterances(source).columns
    return len(columns), lambda start, stop: columns.read("samples", start, stop)


def _cuts(source: Path, n_rows: int, sizes: _Sizes, n: int) -> _Cuts:
    bounds = balanced_bounds(n_rows, sizes, min(n, n_rows))
    return _Cuts(np.array(bounds[:-1]), np.arange(len(bounds) - 1), len(bounds) - 1)


def _cuts_of_speakers(source: Path, n_rows: int, sizes: _Sizes, n: int) -> _Cuts:
    # runs of utterances of one speaker: where they start, and a hash of the speaker
    heads, hashes, row, last = list[np.ndarray](), list[np.ndarray](), 0, b""
    for block in table_blocks(source / "utt2spk"):
        speakers = block.values
        new = np.append(speakers[0].item() != last, speakers[1:] != speakers[:-1])
        heads.append(row + np.flatnonzero(new))
        hashes.append(np.array([hash(name) for name in speakers[new].tolist()], np.int64))
        row, last = row + len(block), speakers[-1].item()
    starts, names = np.concatenate(heads), np.concatenate(hashes)
    # numbers of the speakers (m,), in the order of their first runs
    _, first, speaker = np.unique(names, return_index=True, return_inverse=True)
    speaker = np.argsort(np.argsort(first))[speaker]
    totals = np.zeros(len(first))
    for start, stop in portions(n_rows):
        run = np.searchsorted(starts, np.arange(start, stop), "right") - 1
        totals += np.bincount(speaker[run], sizes(start, stop), len(totals))
    bounds = balanced_bounds(
        len(totals), lambda a, b: totals[a:b].astype(np.int64), min(n, len(totals))
    )
    part = np.searchsorted(bounds, speaker, "right") - 1
    new = np.append(True, part[1:] != part[:-1])
    return _Cuts(starts[new], part[new], len(bounds) - 1)


def balanced_bounds(n_items: int, sizes: _Sizes, n: int) -> list[int]:
    """n + 1 bounds of non-empty runs of items: one goes where its middle falls in n equal shares.

    Args:
        n_items: how many there are, n at least.
        sizes: of the items.
        n: number of runs.
    """
    total = max(1, sum(int(sizes(start, stop).sum()) for start, stop in portions(n_items)))
    # An item is in share k or a later one if (before + size / 2) / total >= k / n.
    steps = np.array([-(-2 * total * k // n) for k in range(1, n)], np.int64)
    firsts: list[int] = []  # the first item of share 1, 2, ... or later
    before = 0
    for start, stop in portions(n_items):
        ends = before + np.cumsum(sizes(start, stop))
        places = np.searchsorted(2 * ends - sizes(start, stop), steps[len(firsts) :])
        firsts += (start + places[places < stop - start]).tolist()
        before = int(ends[-1])
    firsts += [n_items] * (n - 1 - len(firsts))
    bounds = [0]
    for k, first in enumerate(firsts, 1):  # one item for each run at least
        bounds.append(min(max(first, bounds[-1] + 1), n_items - n + k))
    return [*bounds, n_items]


def _distribute(table: Path, cuts: _Cuts, parts: list[Path]) -> bytes:
    """Copy the lines of a table to the parts; returns a digest of the ids."""
    digest, row = hashlib.sha256(), 0
    for block in table_blocks(table, empty=table.name == "text"):
        if table.name == "wav.scp" and has_command(block):
            check_dir(table.parent)
        stop = row + len(block)
        first, last = np.searchsorted(cuts.starts, (row, stop - 1), "right") - (1, 0)
        edges = np.clip(np.append(cuts.starts[first:last], stop), row, stop) - row
        for part, a, b in zip(cuts.parts[first:last], edges, edges[1:], strict=False):
            with (parts[part] / table.name).open("ab") as file:
                file.write(_lines(block, a, b))
        digest.update(b"\n".join(block.ids.tolist()) + b"\n")
        row = stop
    return digest.digest()


def _lines(block: TableBlock, start: int, stop: int) -> bytes:
    lines = block.text[block.starts[start] : block.stops[stop - 1] + 1].tobytes()
    if (block.blanks[start:stop] + 1 == block.stops[start:stop]).any():  # without a value
        lines = lines.replace(b" \n", b"\n")
    return lines


def _distribute_recordings(source: Path, parts: list[Path]) -> None:
    """Write wav.scp of each part: the recordings that its segments name."""
    used = [_recordings(part / SEGMENTS) for part in parts]
    for block in table_blocks(source / "wav.scp"):
        if has_command(block):
            check_dir(source)
        lines = np.array(block.text.tobytes().splitlines(keepends=True), object)
        for part, names in zip(parts, used, strict=True):
            if (chosen := lines[np.isin(block.ids, names)]).size:
                with (part / "wav.scp").open("ab") as file:
                    file.writelines(chosen.tolist())


def _recordings(segments: Path) -> np.ndarray:
    """Names of the recordings that a table of segments has, sorted."""
    names = np.empty(0, "S1")
    for block in table_blocks(segments):
        spaces = np.append(np.flatnonzero(block.text == ord(" ")), len(block.text))
        starts = block.blanks + 1
        stops = spaces[np.searchsorted(spaces, starts)]
        names = np.unique(np.append(names, cut_out(segments, block.text, starts, stops)))
    return names
