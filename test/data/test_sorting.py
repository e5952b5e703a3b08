"""Sorted lines of any number: side by side, and sorted on disk."""

import errno
import random
from pathlib import Path

import pytest

from speechlm.data import sorting
from speechlm.data.disk import CannotWrite
from speechlm.data.sorting import scratch, side_by_side, sort_lines


@pytest.mark.parametrize("held", [1, 100, 1 << 25])
def test_lines_are_sorted_by_their_keys_and_equals_stay_in_order(tmp_path, monkeypatch, held):
    monkeypatch.setattr(sorting, "_HELD", held)
    draw = random.Random(0)
    lines = [f"{draw.choice('abcé')} {n}\n".encode() for n in range(60)]
    found = sort_lines(iter(lines), tmp_path, lambda line: line.split()[0])
    assert list(found) == sorted(lines, key=lambda line: line.split()[0])
    assert list(sort_lines([], tmp_path, bytes)) == []
    assert not list(tmp_path.iterdir())


def test_tables_side_by_side():
    tables = [[("a", 1), ("c", 2)], [], [("b", 3), ("c", 4), ("d", 5)]]
    assert list(side_by_side(tables)) == [
        ("a", [1, None, None]),
        ("b", [None, None, 3]),
        ("c", [2, None, 4]),
        ("d", [None, None, 5]),
    ]
    assert list(side_by_side([])) == []


def test_a_full_disk_is_said_and_where(tmp_path):
    with (
        pytest.raises(CannotWrite, match=f"{tmp_path} cannot be written: .*bytes free in"),
        scratch(tmp_path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError, match="corpus"), scratch(tmp_path):
        Path("corpus").read_text()
