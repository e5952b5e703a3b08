"""Parts of a data directory that are made once."""

import os

import pytest

from speechlm.data import dir_parts
from speechlm.data.dir_parts import kept_split
from speechlm.data.kaldi_dir import DataDir


def write(folder, n: int) -> None:
    ids = [f"s{i % 3}-{i}" for i in range(n)]
    samples = {u: 1000 + i for i, u in enumerate(ids)}
    DataDir({u: f"{u}.flac" for u in ids}, {u: u[:2] for u in ids}, n_samples=samples).write(folder)


@pytest.fixture
def splits(monkeypatch):
    """Counts how often a directory is cut."""
    made = []
    plain = dir_parts.split
    monkeypatch.setattr(dir_parts, "split", lambda *a: (made.append(a[1:]), plain(*a))[1])
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
