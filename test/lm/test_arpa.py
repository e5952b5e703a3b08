"""ARPA files: damaged ones are named, words that a lexicon lacks are left out and counted."""

import gzip

import pytest

from speechlm.lm.arpa import copy_for_words, read_arpa

ARPA = """A model made by some program.

\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-99 <s> -0.5
-1.0 </s>
-1.0\t<unk>\t0
-1.0 TO -0.5
-1.0 TWO -0.5

\\2-grams:
-0.3 <s> TWO
-0.1 TWO TO
-0.2 TO </s>

\\end\\
"""


def copied(tmp_path, text, words=("TO", "TWO")):
    (tmp_path / "lm").write_text(text, encoding="utf-8", newline="")
    copy_for_words(tmp_path / "lm", words, tmp_path / "copy")
    return [(order, words) for order, words, _ in read_arpa(tmp_path / "lm")]


@pytest.mark.parametrize("change", [("", ""), ("\n", "\r\n"), ("A model", "\ufeffA model")])
def test_sound_files(tmp_path, caplog, change):
    assert copied(tmp_path, ARPA.replace(*change)) == [
        *[(1, [word]) for word in ("<s>", "</s>", "<unk>", "TO", "TWO")],
        *[(2, ["<s>", "TWO"]), (2, ["TWO", "TO"]), (2, ["TO", "</s>"])],
    ]
    wanted = ARPA[ARPA.index("\\data") :].replace("-1.0\t<unk>\t0\n", "")
    assert (tmp_path / "copy").read_text() == wanted
    assert not caplog.text


def test_words_of_one_side_only_are_counted(tmp_path, caplog):
    copied(tmp_path, ARPA, ("TWO", "MAT"))
    assert "3 n-grams left out, with 1 words that the lexicon lacks: TO" in caplog.text
    assert "lacks 1 words of the lexicon, which will not be recognised: MAT" in caplog.text
    assert "-0.3 <s> TWO\n\n\\end" in (tmp_path / "copy").read_text()
    with pytest.raises(ValueError, match="none of the lexicon's words"):
        copied(tmp_path, ARPA, ("MAT",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("\\data\\", "data"), "no line"),
        (("\\end\\", ""), "cut off"),
        (("-0.2 TO </s>\n", ""), "lm:18: 3 2-grams expected, found 2"),
        (("ngram 2=3\n", ""), "expected, got .*2-grams"),
        (("ngram 2=3", "ngram 3=3"), "lm:5: `ngram 1=COUNT` lines"),
        (("-0.1 TWO TO", "-0.1 TWO"), "lm:16: the line of a 2-gram"),
        (("-0.1 TWO TO", "x TWO TO"), "lm:16: the line of a 2-gram"),
        (("-1.0 TO -0.5", "nan TO -0.5"), "lm:11: the line of a 1-gram"),
        (("<s>", "<S>"), "has no <s>"),
    ],
)
def test_damaged_files_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        copied(tmp_path, ARPA.replace(*change))


@pytest.mark.parametrize("size", range(30, len(ARPA) - 6, 7))
def test_files_that_are_cut_off_are_named(tmp_path, size):
    with pytest.raises(ValueError, match="lm"):
        copied(tmp_path, ARPA[:size])


def test_packed_files_are_named(tmp_path):
    (tmp_path / "lm").write_bytes(gzip.compress(ARPA.encode()))
    with pytest.raises(ValueError, match="gzip"):
        copy_for_words(tmp_path / "lm", ["TO"], tmp_path / "copy")
