"""Utterances by number: what the tables say, also after they have changed."""

import errno
import os
import shutil

import pytest

from speechlm.data import columns, table_blocks
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.segments import Segment
from speechlm.data.utterances import INDEX, Ids, Utterances


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks of lines and several portions of rows in each table."""
    monkeypatch.setattr(table_blocks, "_BLOCK", 100)
    monkeypatch.setattr(columns, "_ROWS", 7)


def write(folder, n: int = 40, parts: bool = False) -> DataDir:
    ids = [f"s{i % 5}-ü{i:03d}" for i in range(n)]
    data = DataDir(
        {u: f"/audio of it/{'long' if parts and i % 3 else u}.flac" for i, u in enumerate(ids)},
        {u: u.split("-")[0] for u in ids},
        n_samples={u: 16000 + i for i, u in enumerate(ids)},
        segments={
            u: Segment("long", i / 8, i / 8 + 2) for i, u in enumerate(ids) if parts and i % 3
        },
    )
    data.write(folder)
    return data


def check(folder) -> Utterances:
    """The utterances are those of the tables."""
    data, found = DataDir.read(folder), Utterances(folder)
    assert [found.id(row) for row in range(len(found))] == data.ids
    assert found.samples.tolist() == [data.n_samples[u] for u in data.ids]
    for row, u in enumerate(data.ids):
        start = data.audio(u).start
        audio = found.audio(row)
        assert (audio.path, audio.start) == (data.wav[u], start)
        assert audio.stop == start + data.n_samples[u]
    return found


@pytest.mark.parametrize("parts", [False, True])
def test_they_are_what_the_tables_say(tmp_path, parts):
    write(tmp_path / "data", parts=parts)
    found = check(tmp_path / "data")
    ids = Ids(found, range(3, 20))
    assert ids[2] == found.id(5) and ids[-1] == found.id(19) and ids[1:3] == [ids[1], ids[2]]
    assert list(ids) == [found.id(row) for row in range(3, 20)] and ids.index(ids[4]) == 4
    read = [found.columns.read("samples", *span) for span in columns.portions(len(found))]
    assert len(read) > 3 and [n for part in read for n in part] == found.samples.tolist()


def test_long_and_tidied_lines(tmp_path):
    """An irregular line is found again where it stands."""
    write(tmp_path)
    path = tmp_path / "wav.scp"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace(" ", "   ", 1)
    lines[2] = " " + lines[2] + "/x" * 1500 + "\t"
    path.write_text("\n".join(lines))
    check(tmp_path)


def test_the_index_is_made_once_and_again_after_a_change(tmp_path, monkeypatch):
    write(tmp_path)
    check(tmp_path)
    made = []
    plain = Utterances._make
    monkeypatch.setattr(Utterances, "_make", lambda *a: (made.append(1), plain(*a)))
    check(tmp_path)
    assert not made
    write(tmp_path, 41)
    check(tmp_path)
    assert len(made) == 1
    write(tmp_path, 41, parts=True)
    check(tmp_path)
    assert len(made) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "old"])
def test_a_damaged_index_is_made_again(tmp_path, damage):
    write(tmp_path)
    check(tmp_path)
    index = tmp_path / INDEX
    content = {
        "empty": b"",
        "cut": index.read_bytes()[:-20],
        "other": b"x" * 1000,
        "old": index.read_bytes()[9:],
    }[damage]
    index.write_bytes(content)
    check(tmp_path)
    assert index.read_bytes() != content


@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES, errno.ENOSPC])
@pytest.mark.parametrize("after", [0, 10])
def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, caplog, reason, after):
    """From the first byte on, or from a later one."""
    write(tmp_path)
    plain = columns.write_columns

    def refuse(file, *arguments):
        if isinstance(file.name, str):  # temporary files have none
            file.write(bytes(after))
            raise OSError(reason, os.strerror(reason), file.name)
        plain(file, *arguments)

    monkeypatch.setattr("speechlm.data.utterances.write_columns", refuse)
    check(tmp_path)
    assert not (tmp_path / INDEX).exists() and "made anew each time" in caplog.text
    assert os.strerror(reason) in caplog.text


def test_a_copy_takes_the_index_along(tmp_path, monkeypatch):
    write(tmp_path / "a")
    check(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(Utterances, "_make", None)
    check(tmp_path / "b")


CHANGES = {
    "fewer samples": ("utt2num_samples", lambda lines: lines[:-1]),
    "more samples": ("utt2num_samples", lambda lines: [*lines, "z 5"]),
    "other samples": ("utt2num_samples", lambda lines: [*lines[:7], "s0-x 1", *lines[8:]]),
    "no number": ("utt2num_samples", lambda lines: [*lines[:-1], lines[-1] + "x"]),
    "too long a number": ("utt2num_samples", lambda lines: [*lines[:-1], lines[-1] + "0" * 20]),
    "command": ("wav.scp", lambda lines: [*lines[:-1], lines[-1] + " |"]),
    "command before": ("wav.scp", lambda lines: [*lines[:-1], lines[-1].replace(" ", " |", 1)]),
    "empty": ("wav.scp", lambda _: []),
    "order": ("wav.scp", lambda lines: lines[::-1]),
    "bad segment": ("segments", lambda lines: [*lines[:-1], lines[-1].split()[0] + " long 3 2"]),
    "no recording": ("segments", lambda lines: [*lines[:-1], lines[-1].replace("long", "no")]),
    "no segments": ("segments", lambda _: []),
}


@pytest.mark.parametrize(("table", "change"), CHANGES.values(), ids=CHANGES)
def test_errors_are_those_of_the_tables(tmp_path, table, change):
    write(tmp_path, 38, parts=table == "segments")
    path = tmp_path / table
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in change(lines)))
    with pytest.raises(ValueError) as plain:
        DataDir.read(tmp_path)
    with pytest.raises(ValueError) as ours:
        Utterances(tmp_path)
    assert str(ours.value).replace(f"{tmp_path}: ", "") in str(plain.value)
    assert not (tmp_path / INDEX).exists()


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(ValueError, match="data directory expected"):
        Utterances(tmp_path / "none")
    write(tmp_path)
    (tmp_path / "utt2num_samples").unlink()
    with pytest.raises(ValueError, match="run format_data first"):
        Utterances(tmp_path)
