"""Stores of units of a text: round trip, and everything that may be wrong with them."""

import pickle

import numpy as np
import pytest

from speechlm.data.text_corpus import TextCorpus
from speechlm.data.unit_store import ChunkProblem, ChunkReport, UnitStore
from speechlm.data.vocabulary import UnitVocabulary

UNITS = UnitVocabulary([str(n) for n in range(300)], "300 units")
MADE = {"model": "abc", "seed": 3}


def create(folder, corpus, units=UNITS, chunk_lines=4, made_with=MADE):
    return UnitStore.create(folder, corpus, units, 0.02, chunk_lines, made_with)


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "text").write_text("".join(f"LINE {'A' * n}\n" for n in range(10)))
    return TextCorpus(tmp_path / "text")


@pytest.fixture
def full(tmp_path, corpus):
    """(store of 10 lines in 3 chunks, its rows); lines 5 and 8, 9 have no units."""
    rng = np.random.default_rng(1)
    rows = [rng.integers(0, 300, n) for n in (3, 1, 7, 2, 9, 0, 4, 5, 0, 0)]
    store = create(tmp_path / "store", corpus)
    for chunk in (2, 0, 1):
        numbers = store.lines_of(chunk)
        dropped = {n: "empty" for n in numbers if not len(rows[n])}
        report = ChunkReport(dropped, {"QQ": chunk} if chunk else {})
        store.write(chunk, corpus.lines(numbers), [rows[n] for n in numbers], report)
    return store, rows


def test_lines_come_back(full, corpus):
    store, rows = full
    store.check(corpus)
    for again in (store, UnitStore(store.folder), pickle.loads(pickle.dumps(store))):
        assert len(again) == 10 and again.made_with == MADE and again.frame_shift == 0.02
        for n in (9, 0, 5, 4, 8, 2, 1, 3, 7, 6):
            assert again[n].dtype == np.int16 and again[n].tolist() == rows[n].tolist()
    assert store.report(1).dropped == {5: "empty"} and store.report(2).unknown == {"QQ": 2}
    assert [store.count(n) for n in range(3)] == [13, 18, 0]
    with pytest.raises(IndexError, match="line 10 of .*which has 10 lines"):
        store[10]


def test_missing_chunks_are_named(full, corpus):
    store, _ = full
    store.path(1).unlink()
    assert store.missing() == [1]
    with pytest.raises(ValueError, match="1 of 3 chunks are missing.* lines 5 to 8;"):
        store.check(corpus)
    with pytest.raises(ChunkProblem, match="000001.units expected, but it is not there"):
        UnitStore(store.folder)[4]


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:30], lambda b: b"x" + b[1:]])
def test_damaged_chunks_are_found(full, corpus, damage):
    store, _ = full
    store.path(0).write_bytes(damage(store.path(0).read_bytes()))
    with pytest.raises(ValueError, match="000000.units is damaged"):
        store.check(corpus)


def test_units_of_another_text_are_refused(full, tmp_path):
    (tmp_path / "shorter").write_text("LINE\n" * 9)
    with pytest.raises(ValueError, match="a text of 10 lines and 105 bytes, .*9 lines and 45"):
        full[0].check(TextCorpus(tmp_path / "shorter"))
    text = (tmp_path / "text").read_text()
    (tmp_path / "other").write_text(text.replace("LINE A\n", "LINE B\n"))
    with pytest.raises(ValueError, match="was made of other sentences"):
        full[0].check(TextCorpus(tmp_path / "other"))


def test_a_store_is_gone_on_with_only_in_the_same_way(full, corpus):
    folder = full[0].folder
    assert create(folder, corpus).missing() == []
    for changes, message in (
        ({"made_with": {**MADE, "seed": 4}}, "made in another way .*'seed': 3.*'seed': 4"),
        ({"chunk_lines": 5}, "chunk_lines: 4, now 5"),
        ({"units": UnitVocabulary("abc")}, r"\(300\) and the given symbols \(3\) differ"),
    ):
        with pytest.raises(ValueError, match=message):
            create(folder, corpus, **changes)


def test_wrong_rows_and_too_many_units(tmp_path, corpus):
    store = create(tmp_path / "new", corpus)
    text = corpus.lines(range(4))
    with pytest.raises(ValueError, match="has 4 lines, got 3"):
        store.write(0, text, [np.arange(3)] * 3, ChunkReport())
    with pytest.raises(ValueError, match="do not fit"):
        store.write(0, text, [np.arange(301)] * 4, ChunkReport())
    assert store.missing() == [0, 1, 2]
    with pytest.raises(ValueError, match="32768 units at most"):
        create(tmp_path / "big", corpus, UnitVocabulary(map(str, range(40000))))
    with pytest.raises(ValueError, match="0 lines a chunk"):
        create(tmp_path / "none", corpus, chunk_lines=0)
    with pytest.raises(
        ValueError, match="store.json expected, but it is not there; generate_text_units"
    ):
        UnitStore(tmp_path / "nothing")
