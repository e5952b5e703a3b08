"""Where units are: as the archives say, whoever wrote them; and whether they fit the audio."""

import shutil

import numpy as np
import pytest

from speechlm.data import columns, table_blocks
from speechlm.data.archives import (
    ArchiveReader,
    ArchiveWriter,
    merge_archives,
    n_labels,
    read_array,
    write_unit_info,
)
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.unit_index import NONE, UnitIndex, check_units
from speechlm.data.utterances import Utterances

TOKENS = ["SIL", "AH0_I", "B_B"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks of lines and several portions of rows in each table."""
    monkeypatch.setattr(table_blocks, "_BLOCK", 100)
    monkeypatch.setattr(columns, "_ROWS", 7)


def data_dir(folder, samples: dict[str, int]) -> DataDir:
    data = DataDir(
        {u: f"/audio/{u}.flac" for u in samples}, {u: u for u in samples}, n_samples=samples
    )
    data.write(folder)
    return data


def units(folder, rows: dict[str, np.ndarray], n_jobs: int) -> None:
    """The rows by turns in the archives of the jobs."""
    for job in range(n_jobs):
        with ArchiveWriter(folder, "units", job + 1) as writer:
            for u in sorted(rows, reverse=True)[job::n_jobs]:
                writer.write(u, rows[u])
    merge_archives(folder, n_jobs)
    write_unit_info(folder, 0.01, TOKENS)


@pytest.fixture
def folder(tmp_path):
    """40 utterances, some without units, and some units of no utterance."""
    random = np.random.default_rng(0)
    samples = {f"u{n:02d}": int(random.integers(0, 3000)) for n in range(40)}
    data_dir(tmp_path / "data", samples)
    rows = {u: random.integers(0, 3, n_labels(n)) for u, n in samples.items() if u[2] not in "37"}
    rows |= {name: np.zeros(3, int) for name in ("a", "u05x", "u39y", "z")}
    units(tmp_path / "data" / "units", rows, 3)
    return tmp_path / "data"


def check(folder) -> UnitIndex:
    """The index says what the archives hold."""
    utterances, reader = Utterances(folder), ArchiveReader(folder / "units" / "units.scp")
    index = UnitIndex(folder / "units", utterances)
    for row in range(len(utterances)):
        u = utterances.id(row)
        assert (index.archive[row] != NONE) == (u in reader)
        if u in reader:
            ark = index.archives[index.archive[row]]
            assert index.labels[row] == len(reader[u])
            np.testing.assert_array_equal(read_array(ark, index.offset[row], u), reader[u])
    assert sorted(index.strangers()) == sorted(set(reader) - set(DataDir.read(folder).wav))
    return index


@pytest.mark.parametrize("foreign", [False, True])
def test_it_says_what_the_archives_hold(folder, foreign):
    assert len(list((folder / "units").glob(".units.*.ark.idx"))) == 3
    if foreign:  # as another program leaves them
        for path in (folder / "units").glob(".units.*.idx"):
            path.unlink()
    index = check(folder)
    assert len(index.archives) == 3 and len(set(index.archive)) == 4


def test_it_follows_changes_and_moves(folder, tmp_path, monkeypatch):
    check(folder)
    data_dir(folder, {u: n for u, n in DataDir.read(folder).n_samples.items() if u != "u00"})
    check(folder)
    units(folder / "units", {"u05": np.arange(7) % 3, "u11": np.arange(9) % 3}, 2)
    check(folder)
    shutil.move(folder, tmp_path / "moved")
    made = []
    plain = UnitIndex._make
    monkeypatch.setattr(UnitIndex, "_make", lambda *a: (made.append(1), plain(*a)))
    check(tmp_path / "moved")
    assert not made
    with ArchiveWriter(tmp_path / "moved" / "units", "units", 1) as writer:  # under its old scp
        writer.write("u11", np.arange(12) % 3)
    check(tmp_path / "moved")
    assert made


def test_what_is_wrong_in_an_scp_is_named(folder):
    scp = folder / "units" / "units.scp"
    text = scp.read_text()
    for entry in ("u05 nothing", "u05 :7", "u05 /x/y.ark:", "u05 /x/y.ark:-3", "u05 touch x |"):
        scp.write_text("".join(entry + "\n" if x[:4] == "u05 " else x for x in text.splitlines(1)))
        with pytest.raises(ValueError, match="units.scp: `path:offset` expected for u05, got"):
            UnitIndex(folder / "units", Utterances(folder))
    scp.write_text(text.replace("units.2.ark", "gone.ark"))
    with pytest.raises(ValueError, match="units.scp: archive .*gone.ark of u.. is not there"):
        UnitIndex(folder / "units", Utterances(folder))
    scp.unlink()
    with pytest.raises(ValueError, match="archive index expected, but .*units.scp is not there"):
        UnitIndex(folder / "units", Utterances(folder))


@pytest.mark.parametrize("content", [b"", b"u\0B", b"text " * 1000])
def test_places_without_a_vector_have_no_labels(folder, content):
    (folder / "units" / "units.2.ark").write_bytes(content)
    index = UnitIndex(folder / "units", Utterances(folder))
    second = [n for n, ark in enumerate(index.archives) if ark.name == "units.2.ark"]
    assert (index.labels[index.archive == second[0]] == -1).all()
    assert (index.labels[index.archive != second[0]] >= 0).all()
    problems = check_units(folder / "units", folder)
    assert "no vector of labels at byte" in " ".join(problems.values())


@pytest.mark.parametrize("foreign", [False, True])
def test_units_are_checked_against_the_audio(tmp_path, foreign):
    data_dir(tmp_path, {"a": 16000, "b": 8000, "c": 8000, "d": 4000, "f": 4000, "g": 0, "h": 4000})
    rows = {"a": np.zeros(98, int), "b": np.zeros(47, int), "d": np.full(23, 5)}
    rows |= {"e": np.zeros(3, int), "f": -np.arange(23), "g": np.zeros(0, int)}
    rows["h"] = np.arange(23) % 3
    units(tmp_path / "units", rows, 1)
    if foreign:
        (tmp_path / "units" / ".units.1.ark.idx").unlink()
    wrong = {
        "b": "48 labels expected, found 47",
        "c": "no units",
        "d": "labels 0..2 expected, found 5",
        "e": "units of no utterance",
        "f": "labels 0..2 expected, found -22",
    }
    assert check_units(tmp_path / "units", tmp_path) == wrong
    skipped = {"c": "too short", "h": "too long", "zzz": "of another directory"}
    found = check_units(tmp_path / "units", tmp_path, skipped)
    del wrong["c"]
    assert found == dict(sorted((wrong | {"h": "units of no utterance"}).items()))


def test_a_cut_archive_of_another_program_is_found(tmp_path):
    data_dir(tmp_path, {"a": 16000, "b": 16000})
    units(tmp_path / "units", {"a": np.zeros(98, int), "b": np.zeros(98, int)}, 1)
    ark = tmp_path / "units" / "units.1.ark"
    ark.write_bytes(ark.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"units.1.ark ends within the labels at byte"):
        check_units(tmp_path / "units", tmp_path)
