"""TextCorpus: every line as written, index kept in step with the text, small memory."""

import errno
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest

from speechlm.data.disk import cannot_write
from speechlm.data.encoding import text_lines
from speechlm.data.text_corpus import TextCorpus, read_sentences


def _write(path, text):
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text", ["A\nBB\n\nCCC\n", "A\nBB\n\nCCC", "\n\n", "ONE", "\n", "É\nÜÜ X\n"]
)
def test_lines_as_python_reads_them(tmp_path, text):
    path = _write(tmp_path / "text.txt", text)
    expected = text[:-1].split("\n") if text.endswith("\n") else text.split("\n")
    corpus = TextCorpus(path)
    assert len(corpus) == len(expected)
    assert list(corpus) == [corpus[i] for i in range(len(corpus))] == expected
    assert corpus[-1] == expected[-1] and corpus[0:2] == expected[0:2]
    with pytest.raises(IndexError, match=f"has {len(expected)} lines"):
        corpus[len(expected)]


def test_blocks_do_not_matter(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    lines = ["".join(rng.choice(list("AB C"), rng.integers(0, 30))) for _ in range(500)]
    path = _write(tmp_path / "text.txt", "\n".join(lines))
    monkeypatch.setattr("speechlm.data.text_corpus._BLOCK", 7)
    corpus = TextCorpus(path)
    order = rng.permutation(500)
    assert corpus.lines(order) == [lines[i] for i in order]


def test_index_is_kept_and_renewed(tmp_path):
    path = _write(tmp_path / "text.txt", "A\nB\n")
    TextCorpus(path)
    index = tmp_path / "text.txt.idx"
    made = index.stat().st_mtime_ns
    assert TextCorpus(path)[1] == "B" and index.stat().st_mtime_ns == made
    time.sleep(0.01)
    _write(path, "X\nYYY\nZ\n")
    assert list(TextCorpus(path)) == ["X", "YYY", "Z"]
    _write(path, "XYYYYYYZ")  # same size, other time
    os.utime(path, ns=(1, 1))
    assert list(TextCorpus(path)) == ["XYYYYYYZ"]
    index.write_bytes(index.read_bytes()[:-8])
    assert list(TextCorpus(path)) == ["XYYYYYYZ"]
    index.write_bytes(b"rubbish" * 20)
    assert list(TextCorpus(path)) == ["XYYYYYYZ"]
    assert sorted(os.listdir(tmp_path)) == ["text.txt", "text.txt.idx"]


def test_folder_that_cannot_be_written(tmp_path, monkeypatch):
    path = _write(tmp_path / "text.txt", "A\nB\n")

    def refuse(path):
        raise cannot_write(errno.EACCES, path, "Permission denied")

    monkeypatch.setattr("speechlm.data.text_corpus.output_file", refuse)
    assert list(TextCorpus(path)) == ["A", "B"]
    assert os.listdir(tmp_path) == ["text.txt"]


@pytest.mark.parametrize("lack", ["room", "permission"])
def test_text_on_a_disk_that_is_full_or_read_only(small_disk, lack):
    path = _write(small_disk.path / "text.txt", "A\nB\n")
    small_disk.fill() if lack == "room" else small_disk.make_read_only()
    assert list(TextCorpus(path)) == ["A", "B"]
    assert not list(small_disk.path.glob("*.idx"))


def test_bad_files(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        TextCorpus(_write(tmp_path / "empty", ""))
    with pytest.raises(FileNotFoundError):
        TextCorpus(tmp_path / "missing")
    corpus = TextCorpus(_write(tmp_path / "latin", "A\nCAF\u00c9\n".encode("latin-1")))
    assert corpus[0] == "A"
    with pytest.raises(ValueError, match="latin:2: not UTF-8"):
        corpus[1]


def test_a_text_that_becomes_shorter_is_refused(tmp_path):
    path = _write(tmp_path / "text.txt", "ONE\nTWO\nTHREE\n")
    corpus = TextCorpus(path)
    os.truncate(path, 6)
    assert corpus[0] == "ONE"
    with pytest.raises(ValueError, match="text.txt became shorter while it was read"):
        corpus[2]


def test_pickle_carries_no_text(tmp_path):
    path = _write(tmp_path / "text.txt", "SENTENCE\n" * 10000)
    state = pickle.dumps(TextCorpus(path))
    assert len(state) < 1000
    assert pickle.loads(state)[9999] == "SENTENCE"


def test_memory_is_independent_of_size(tmp_path):
    path = tmp_path / "text.txt"
    with open(path, "w") as stream:
        for _ in range(20):
            stream.write("A SENTENCE OF A FEW WORDS\n" * 100_000)
    TextCorpus(path)
    program = (
        "import sys; from speechlm.data.text_corpus import TextCorpus\n"
        "status = lambda: open('/proc/self/status').read()\n"
        "own = lambda: int(status().split('VmRSS:')[1].split()[0])\n"
        "before = own(); c = TextCorpus(sys.argv[1])\n"
        "assert len(c) == 2_000_000\n"
        "assert all(c[i] == 'A SENTENCE OF A FEW WORDS' for i in range(0, len(c), 100))\n"
        "print(own() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 3000, "kB; text and index take 68 MB"


def test_sentences_of_texts_and_transcripts(tmp_path):
    transcript = _write(tmp_path / "text", "utt-1 HELLO  WORLD\nutt-2\nutt-3 A \n")
    plain = _write(tmp_path / "plain.txt", "HELLO WORLD\n\n A\n")
    sentences = ["HELLO WORLD", "A", "HELLO WORLD", "A"]
    assert list(read_sentences([transcript, plain])) == sentences


def test_lines_are_those_of_all_text_files(tmp_path):
    path = tmp_path / "t"
    path.write_bytes("\ufeffA CAT\r\n\r\n\ufeffB\u2028C\r\nD".encode())
    lines = ["A CAT", "", "\ufeffB\u2028C", "D"]
    assert list(TextCorpus(path)) == [line for _, line in text_lines(path)] == lines
    assert TextCorpus(path)[-4] == TextCorpus(path).lines([0])[0] == "A CAT"


def test_folders_and_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="not a folder or a pipe"):
            TextCorpus(path)
