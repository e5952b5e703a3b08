"""Text in another encoding than UTF-8 is named: the file, the line, and the command that helps."""

import gzip

import pytest

from speechlm.data.encoding import open_text, text_lines
from speechlm.data.excluded import Sentences
from speechlm.data.kaldi_dir import read_table
from speechlm.data.language import ENGLISH
from speechlm.data.report import Report
from speechlm.data.text_corpus import TextCorpus
from speechlm.data.text_normalize import SentenceOptions
from speechlm.data.transcripts import read_transcripts

READERS = {
    "lines": lambda path: list(text_lines(path)),
    "table": read_table,
    "excluded": lambda path: Sentences([path], 8, SentenceOptions(), ENGLISH),
    "corpus": lambda path: list(TextCorpus(path)),
}
"""One of each kind; those that read by `text_lines` are in test_lines."""
TEXT = "AB AA1\nCÉ AA1\nD AA1\n"


@pytest.mark.parametrize("name", [name for name in READERS if name != "excluded"])
def test_latin_1_is_named_with_its_line(tmp_path, name):
    path = tmp_path / "a file"
    path.write_bytes(TEXT.encode("latin-1"))
    with pytest.raises(ValueError, match=r"a file:2: .*UTF-8.*iconv -f ENCODING .*'.*a file'"):
        READERS[name](path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", [*READERS])
def test_wide_text_is_named_as_such(tmp_path, name, encoding):
    (tmp_path / "wide").write_bytes(TEXT.encode(encoding))
    expected = {"utf-16": "UTF-16", "utf-32": "UTF-32"}.get(encoding, encoding[:6] + encoding[7:])
    with pytest.raises(ValueError, match=f"wide: .*this is {expected.upper()}; .*iconv -f UTF"):
        READERS[name](tmp_path / "wide")


def test_transcripts_list_lines_and_refuse_wide_text(tmp_path, caplog):
    (tmp_path / "latin").write_bytes("u1 A\nu2 É\n".encode("latin-1"))
    report, text = Report(), {}
    read_transcripts(tmp_path / "latin", text, report)
    assert text == {"u1": "A", "u2": None}
    assert report.items[0].detail == "line 2"
    assert "latin:2: UTF-8 text expected; convert it: iconv" in caplog.text
    (tmp_path / "wide").write_bytes("u1 A\nu2 B\n".encode("utf-16"))
    with pytest.raises(ValueError, match="this is UTF-16"):
        read_transcripts(tmp_path / "wide", text, report)


def test_marks_and_line_ends(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress("\ufeffone\r\ntwo\r\nthree".encode()))
    assert list(text_lines(tmp_path / "a.gz")) == [(1, "one"), (2, "two"), (3, "three")]
    with pytest.raises(ValueError, match="is not there"):
        open_text(tmp_path / "b")
    (tmp_path / "c.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be unpacked"):
        open_text(tmp_path / "c.gz")


def test_an_empty_file_has_no_lines(tmp_path):
    (tmp_path / "empty").touch()
    assert list(text_lines(tmp_path / "empty")) == []
