"""Parts of data directories: what goes into which, and that they are made once."""

import os
import random

import numpy as np
import pytest

from speechlm.data import columns, dir_parts, dir_split, table_blocks
from speechlm.data.dir_parts import kept_split, split
from speechlm.data.dir_split import balanced_bounds
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.segments import Segment


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks of lines and several portions of rows in each table."""
    monkeypatch.setattr(table_blocks, "_BLOCK", 100)
    monkeypatch.setattr(columns, "_ROWS", 7)


def make(n: int = 10, speakers: int = 3, seed: int = 0, mark: str = "-") -> DataDir:
    rng = np.random.default_rng(seed)
    ids = [f"s{i * 7 % speakers}{mark}ü{i:03d}" for i in range(n)]
    return DataDir(
        {u: f"audio files/{u}.flac" for u in ids},
        {u: u.split(mark)[0] for u in ids},
        {u: "HELLO" if i % 3 else "" for i, u in enumerate(ids)},
        {u: int(rng.integers(8000, 400000)) for u in ids},
        {"de": {u: f"Hallo, {u}!" for u in ids}},
    )


def cut(folder, data: DataDir, n: int, by_speaker: bool = False) -> list[DataDir]:
    data.write(folder / "whole")
    count = split(folder / "whole", folder / "parts", n, by_speaker)
    assert sorted(os.listdir(folder / "parts")) == sorted(str(i + 1) for i in range(count))
    return [DataDir.read(folder / "parts" / str(number + 1)) for number in range(count)]


def write(folder, n: int) -> None:
    ids = [f"s{i % 3}-{i}" for i in range(n)]
    samples = {u: 1000 + i for i, u in enumerate(ids)}
    DataDir({u: f"{u}.flac" for u in ids}, {u: u[:2] for u in ids}, n_samples=samples).write(folder)


@pytest.fixture
def splits(monkeypatch):
    """Counts how often a directory is cut."""
    made = []
    plain = dir_parts.write_parts
    monkeypatch.setattr(dir_parts, "write_parts", lambda *a: (made.append(a[2:]), plain(*a))[1])
    return made


def parts(folder) -> list[list[str]]:
    return [DataDir.read(path).ids for path in sorted(folder.glob("[0-9]*"))]


def test_parts_are_made_once_for_each_number(tmp_path, splits):
    write(tmp_path, 20)
    assert [kept_split(tmp_path, 4) for _ in range(3)] == [4, 4, 4]
    assert kept_split(tmp_path, 8, by_speaker=True) == 3 == kept_split(tmp_path, 8, True)
    assert splits == [(4, False), (8, True)]
    of_ids, of_speakers = parts(tmp_path / ".split4"), parts(tmp_path / ".split8.speakers")
    assert sum(of_ids, []) == sum(of_speakers, []) == DataDir.read(tmp_path).ids
    assert [len({u[:2] for u in part}) for part in of_speakers] == [1, 1, 1]
    assert kept_split(tmp_path / ".split4" / "2", 2) == 2  # parts are directories like others


def test_parts_of_other_tables_are_made_again(tmp_path, splits):
    write(tmp_path, 20)
    kept_split(tmp_path, 4)
    write(tmp_path, 3)
    assert kept_split(tmp_path, 4) == 3
    assert sum(parts(tmp_path / ".split4"), []) == DataDir.read(tmp_path).ids
    (tmp_path / ".split4" / ".made_of").write_text("{")
    kept_split(tmp_path, 4)
    assert len(splits) == 3


def test_parts_that_are_there_need_not_be_written(tmp_path, splits, monkeypatch):
    write(tmp_path, 5)
    monkeypatch.setattr(os, "access", lambda *_: not splits)
    assert kept_split(tmp_path, 2) == kept_split(tmp_path, 2) == 2


def test_what_cannot_be_cut_is_said(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="data directory expected"):
        kept_split(tmp_path / "none", 2)
    write(tmp_path, 5)
    (tmp_path / "utt2spk").write_text("s0-0 s0\n")
    with pytest.raises(ValueError, match="different ids"):
        kept_split(tmp_path, 2)
    assert not list(tmp_path.glob(".split*"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match="cannot be written there; choose a folder"):
        kept_split(tmp_path, 2)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("by_speaker", [False, True])
def test_parts_have_the_bytes_that_their_tables_are_written_in(tmp_path, n, by_speaker):
    data = make(40, 5)
    parts = cut(tmp_path, data, n, by_speaker)
    for number, part in enumerate(parts, 1):
        assert part == data.subset(part.ids)
        part.write(tmp_path / "again" / str(number))
        for path in (tmp_path / "again" / str(number)).iterdir():
            assert path.read_bytes() == (tmp_path / "parts" / str(number) / path.name).read_bytes()
    assert sum((part.ids for part in parts), []) == data.ids


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40])
def test_split_is_balanced_and_keeps_the_order(tmp_path, n):
    data = make(40, 5)
    parts = cut(tmp_path, data, n)
    assert len(parts) == n
    sizes = [sum(part.n_samples.values()) for part in parts]
    mean = sum(data.n_samples.values()) / n
    assert min(len(part) for part in parts) > 0
    if n <= 7:
        assert max(sizes) <= mean + max(data.n_samples.values())


def test_bounds_are_those_of_the_definition():
    """One item after the other: it begins a part if it must, or if its middle is in a later one."""
    draw = random.Random(1)
    for _ in range(200):
        sizes = np.array([draw.choice((0, 1, 5, 40, 10**9)) for _ in range(draw.randint(1, 30))])
        n = draw.randint(1, len(sizes))
        total, bounds, done = max(1, int(sizes.sum())), [0], 0
        for index, size in enumerate(sizes.tolist()):
            share = min(n - 1, (2 * done + size) * n // (2 * total))
            must = len(sizes) - index == n - len(bounds)
            if (len(bounds) <= share or must) and index > bounds[-1] and len(bounds) < n:
                bounds.append(index)
            done += size
        found = balanced_bounds(len(sizes), lambda a, b, all_of=sizes: all_of[a:b], n)
        assert found == [*bounds, len(sizes)]


def test_split_with_one_giant(tmp_path):
    data = make(5)
    data.n_samples = {u: 10**9 if i == 0 else 1 for i, u in enumerate(data.ids)}
    assert [len(part) for part in cut(tmp_path, data, 5)] == [1] * 5
    assert [len(part) for part in cut(tmp_path, data, 2)] == [1, 4]
    data.n_samples = None
    assert [len(part) for part in cut(tmp_path, data, 2)] == [2, 3]


def test_split_into_more_parts_than_utterances(tmp_path):
    assert len(cut(tmp_path, make(3), 8)) == 3
    with pytest.raises(ValueError, match="at least 1"):
        cut(tmp_path, make(3), 0)
    with pytest.raises(ValueError, match="wav.scp is empty: utterances expected"):
        cut(tmp_path, DataDir({}, {}), 2)


@pytest.mark.parametrize("mark", ["-", "_", "!"])
def test_split_by_speaker(tmp_path, mark):
    """Also where utterances of s1, s10 and s11 stand mixed."""
    data = make(60, 12, mark=mark)
    parts = cut(tmp_path, data, 3, by_speaker=True)
    speakers = [set(part.utt2spk.values()) for part in parts]
    assert len(parts) == 3 and sum(map(len, speakers)) == 12
    assert sorted(sum((part.ids for part in parts), [])) == data.ids
    for number, part in enumerate(parts, 1):
        lines = (tmp_path / "parts" / str(number) / "spk2utt").read_text().splitlines()
        assert lines == [f"{speaker} {' '.join(ids)}" for speaker, ids in part.spk2utt.items()]
    assert len(cut(tmp_path, data, 19, by_speaker=True)) == 12


@pytest.mark.parametrize("counted", [True, False])
def test_parts_of_recordings(tmp_path, counted):
    """Each part has the recordings that it needs; some are in two parts, some utterances whole."""
    ids = [f"s-{n:03d}" for n in range(30)]
    data = DataDir(
        {u: f"/a b/{f'r{n // 7}' if n % 4 else u}.flac" for n, u in enumerate(ids)},
        dict.fromkeys(ids, "s"),
        n_samples=dict.fromkeys(ids, 9) if counted else None,
        segments={u: Segment(f"r{n // 7}", n, n + 1) for n, u in enumerate(ids) if n % 4},
    )
    parts = cut(tmp_path, data, 4)
    assert [part.ids for part in parts] == [ids[:7], ids[7:15], ids[15:22], ids[22:]]
    for part in parts:
        assert part == data.subset(part.ids)
    first = (tmp_path / "parts/1/wav.scp").read_text().splitlines()
    assert [line.split()[0] for line in first] == ["r0", "s-000", "s-004"]
    (tmp_path / "whole" / "segments").write_text("s-000 none 1 2\n")
    with pytest.raises(ValueError, match="s-000: none is not in wav.scp"):
        split(tmp_path / "whole", tmp_path / "parts", 4)


def test_an_older_split_is_removed(tmp_path):
    cut(tmp_path, make(9), 4)
    assert sum(len(part) for part in cut(tmp_path, make(9), 2)) == 9


def test_nothing_else_is_removed(tmp_path):
    cut(tmp_path, make(9), 4)
    other = tmp_path / "parts" / "103"  # a speaker of LibriSpeech
    other.mkdir()
    (other / "wav.scp").write_text("precious")
    (other / "a.flac").write_text("precious")
    with pytest.raises(ValueError, match="103"):
        split(tmp_path / "whole", tmp_path / "parts", 2)
    assert sorted(os.listdir(other)) == ["a.flac", "wav.scp"]
    assert sorted(os.listdir(tmp_path / "parts")) == ["1", "103", "2", "3", "4"]


WRONG = {
    "no speaker": ("utt2spk", lambda lines: lines[:-1], "wav.scp and utt2spk have different ids"),
    "other text": ("text", lambda lines: [*lines, "x Y"], "and text have different ids: x"),
    "no number": ("utt2num_samples", lambda lines: [*lines[:-1], "t-9 x"], "number of samples exp"),
    "order": ("text.de", lambda lines: lines[::-1], "text.de:2: not sorted in the C locale"),
    "twice": ("text", lambda lines: [lines[0], *lines], "text:2: duplicate id s0-ü000"),
    "twice apart": ("text", lambda lines: [*lines, lines[0]], "text:10: duplicate id s0-ü000"),
    "command": ("wav.scp", lambda lines: [*lines[:-1], lines[-1] + " |"], "a plain path expected"),
}


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize(("table", "change", "message"), WRONG.values(), ids=WRONG)
def test_wrong_tables_are_named_as_by_who_reads_them_whole(
    tmp_path, table, change, message, counted
):
    data = make(9)
    data.write(tmp_path)
    path = tmp_path / table
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))
    if not counted and table != "utt2num_samples":
        (tmp_path / "utt2num_samples").unlink()
    with pytest.raises(ValueError, match=message) as plain:
        DataDir.read(tmp_path)
    with pytest.raises(ValueError) as ours:
        kept_split(tmp_path, 2)
    said = [str(error.value).replace(f"{tmp_path}: ", "") for error in (ours, plain)]
    assert said[0] == said[1]
    assert not list(tmp_path.glob(".split*"))


def test_a_table_that_changes_meanwhile(tmp_path, monkeypatch):
    make(9).write(tmp_path)
    plain = dir_split._distribute
    monkeypatch.setattr(dir_split, "_distribute", lambda t, *a: plain(t, *a) + t.name.encode())
    with pytest.raises(ValueError, match="a table changed while it was read; start again"):
        kept_split(tmp_path, 2)
