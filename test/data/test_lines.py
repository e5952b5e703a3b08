"""Lines of text files: one way to read them, for all programs."""

import gzip

import pytest

from speechlm.data.encoding import text_lines
from speechlm.data.fairseq_format import read_dictionary
from speechlm.data.kaldi_dir import read_table
from speechlm.data.lexicon import Lexicon
from speechlm.data.text_corpus import read_sentences
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.lm.ngram import perplexity, read_words, train
from speechlm.tokenizers.covering_lexicon import count_words
from speechlm.tokenizers.durations import DurationTable

READERS = [
    lambda path: [line for _, line in text_lines(path)],
    lambda path: list(read_sentences([path])),
    lambda path: count_words([path]),
    Lexicon.read,
    UnitVocabulary.read,
    read_words,
    DurationTable.read,
    read_dictionary,
]


def test_line_feeds_alone_end_lines(tmp_path):
    path = tmp_path / "t"
    path.write_bytes("\ufeffA\u2028B\r\n\nC\x0b\x0c\x1c\x85\u2029D\n\ufeffE".encode())
    assert [line for _, line in text_lines(path)] == [
        "A\u2028B",
        "",
        "C\x0b\x0c\x1c\x85\u2029D",
        "\ufeffE",
    ]
    path.write_bytes(b"")
    assert list(text_lines(path)) == []


BAD = {
    "packed": (gzip.compress(b"HELLO AA\n", mtime=0), "t: .*gzip archive; unpack it"),
    "utf16": ("HELLO AA\n".encode("utf-16"), "t: .*this is UTF-16; convert it: iconv"),
    "latin1": ("AA 1 1 0 1:1\nCAF\u00c9 AA\n".encode("latin-1"), "t:2: .*other bytes; convert it"),
    "zero": (b"AA 1 1 0 1:1\nB\x00 AA\n", "t:2: .*byte of zero"),
    "mac": (b"A AA\rB AA\r", "t:1: .*carriage return"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_text_is_named(tmp_path, reader, kind):
    content, message = BAD[kind]
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        reader(tmp_path / "t")


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_named(tmp_path, reader):
    with pytest.raises(ValueError, match="file.* is a folder|is a folder; a file is expected"):
        reader(tmp_path)
    with pytest.raises(ValueError, match="expected, but .*is not there"):
        reader(tmp_path / "t")


@pytest.mark.parametrize(
    "text", ["\ufeffA B\nC D\n", "A\u00a0B\nC\u3000D\r\n", "A\x1fB\nC\x85 D\n"]
)
def test_a_model_knows_the_words_of_its_own_text(tmp_path, text):
    path = tmp_path / "t"
    path.write_text(text, encoding="utf-8", newline="")
    train([path], tmp_path / "lm.arpa", 2, estimator="built_in")
    found = perplexity(tmp_path / "lm.arpa", [path])
    assert (found.sentences, found.words, found.oov) == (2, 4, 0)
    assert "\tA\t" in (tmp_path / "lm.arpa").read_text()


@pytest.mark.parametrize("sentence", [b"A\rB", b"A\0B"])
def test_tables_have_no_line_ends_within(tmp_path, sentence):
    """Other programs, ESPnet among them, take a carriage return for the end of the line."""
    (tmp_path / "text").write_bytes(b"a-1 OK\na-2 " + sentence + b"\n")
    with pytest.raises(ValueError, match="text:2: .*(carriage return|byte of zero)"):
        read_table(tmp_path / "text")


def test_a_line_has_an_end(tmp_path, monkeypatch):
    """A packed file of 3 MB may hold a line of 3 GB."""
    monkeypatch.setattr("speechlm.data.encoding._LONGEST", 1 << 20)
    with gzip.open(tmp_path / "t.gz", "wb") as file:
        file.write(b"A\n" + b"B" * (1 << 20) + b"\n")
    with pytest.raises(ValueError, match=r"t\.gz:2: a line of text expected, but it has more than"):
        list(text_lines(tmp_path / "t.gz"))
