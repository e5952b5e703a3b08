"""Large texts, plain and packed: how much of them was read; the lines are the same."""

import gzip

import pytest

from speechlm.data import encoding
from speechlm.data.books import read_paragraphs
from speechlm.data.encoding import text_lines
from speechlm.progress import loop
from speechlm.progress.records import FOLDER


@pytest.fixture
def written(tmp_path, monkeypatch):
    records = []
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr(encoding, "_LARGE", 1000)
    monkeypatch.setattr(loop, "_EVERY_S", 0.0)
    monkeypatch.setattr(loop, "write_record", lambda folder, record: records.append(record))
    return records


LINES = [f"LINE {n * n}" for n in range(60_000)]


@pytest.mark.parametrize("name", ["text.txt", "text.txt.gz"])
@pytest.mark.parametrize("read", [text_lines, lambda path: read_paragraphs(path, "lines")])
def test_the_part_of_a_large_text_that_was_read(tmp_path, written, name, read):
    path = tmp_path / name
    text = "".join(f"{line}\n" for line in LINES).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    found = [item[1] if isinstance(item, tuple) else item.text for item in read(path)]
    assert found == LINES
    size = path.stat().st_size / 1e6
    assert {(record.what, record.total) for record in written} == {(f"MB of {name}", size)}
    done = [record.done for record in written]
    assert done == sorted(done) and len(set(done)) > 3 and 0.5 * size < done[-1] <= size


def test_nothing_is_said_of_small_texts(tmp_path, written):
    (tmp_path / "small.txt").write_text("A\nB\n")
    assert [text for _, text in text_lines(tmp_path / "small.txt")] == ["A", "B"]
    assert not written
