"""ARPA files: damaged ones are named, words that a lexicon lacks are left out and counted.

What passes here must not end the process in kaldilm: that is tried in processes of their own.
"""

import gzip
import logging
import os
import random

import pytest

from speechlm.lm import arpa
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
@pytest.mark.parametrize("packed", [False, True])
def test_sound_files(tmp_path, caplog, change, packed):
    text = ARPA.replace(*change)
    expected = [
        *[(1, [word]) for word in ("<s>", "</s>", "<unk>", "TO", "TWO")],
        *[(2, ["<s>", "TWO"]), (2, ["TWO", "TO"]), (2, ["TO", "</s>"])],
    ]
    if packed:
        (tmp_path / "lm.gz").write_bytes(gzip.compress(text.encode()))
        assert copy_for_words(tmp_path / "lm.gz", ["TO", "TWO"], tmp_path / "copy") == []
        assert [ngram[:2] for ngram in read_arpa(tmp_path / "lm.gz")] == expected
    else:
        assert copied(tmp_path, text) == expected
    wanted = ARPA[ARPA.index("\\data") :].replace("-1.0\t<unk>\t0\n", "")
    assert plain((tmp_path / "copy").read_text()) == plain(wanted.replace("1=5", "1=4"))
    assert not caplog.text


def plain(text):
    return [line.split() for line in text.split("\n")]


def test_the_copy_has_the_form_that_all_programs_read(tmp_path):
    """Tabs between the parts, blanks between words; no weight behind the longest; true counts."""
    copied(tmp_path, ARPA.replace("TWO TO", "TWO\t TO  0").replace("-1.0 TO", "\t-1.0 TO"), ["TO"])
    lines = (tmp_path / "copy").read_text().split("\n")
    assert lines[1].rstrip() == "ngram 1=3" and lines[2].rstrip() == "ngram 2=1"
    assert "-1.0\tTO\t-0.5" in lines and "-0.2\tTO </s>" in lines
    copied(tmp_path, ARPA.replace("-0.1 TWO TO", "-0.1 TWO\t TO  0"))
    assert "-0.1\tTWO TO\n" in (tmp_path / "copy").read_text()


def test_words_of_one_side_only_are_counted(tmp_path, caplog):
    (tmp_path / "lm").write_text(ARPA)
    assert copy_for_words(tmp_path / "lm", ("TWO", "MAT"), tmp_path / "copy") == ["MAT"]
    assert "3 n-grams left out" in caplog.text and "lacks 1 of the model's: TO" in caplog.text
    assert "lacks 1 of the 2 words of the lexicon, which will not be recognised: MAT" in caplog.text
    assert "-0.3\t<s> TWO\n\n\\end" in (tmp_path / "copy").read_text()


def words_of(n):
    return [f"W{chr(65 + k // 26)}{chr(65 + k % 26)}" for k in range(n)]


def unigrams(words):
    lines = "".join(f"-2.0\t{word}\n" for word in ["<s>", "</s>", *words])
    return f"\\data\\\nngram 1={len(words) + 2}\n\n\\1-grams:\n{lines}\n\\end\\\n"


@pytest.mark.parametrize(
    ("known", "level"),
    [
        (100, None),
        (96, logging.INFO),
        (94, logging.WARNING),
        (50, logging.WARNING),
        (49, "refused"),
    ],
)
def test_a_model_must_have_half_of_the_words_and_should_have_most(tmp_path, caplog, known, level):
    caplog.set_level(logging.INFO)
    words = words_of(100)
    if level == "refused":
        with pytest.raises(ValueError, match=r"has 49 of the 100 words.*\(49.0%; at least 50%"):
            copied(tmp_path, unigrams(words[:known]), words)
        return
    copied(tmp_path, unigrams(words[:known]), words)
    assert [record.levelno for record in caplog.records] == ([level] if level else [])
    assert not level or f"lacks {100 - known} of the 100 words" in caplog.text


@pytest.mark.parametrize(
    ("model", "advice"),
    [
        ([word.lower() for word in words_of(30)], "is in lower case: "),
        (words_of(12), "The lexicon is of other or more text"),
        ([f"{word}X" for word in words_of(30)], ""),
    ],
)
def test_a_model_of_other_words_shows_both(tmp_path, model, advice):
    with pytest.raises(ValueError, match="lm has .* of the 30 words of the lexicon") as error:
        copied(tmp_path, unigrams(model), words_of(30))
    alone = sorted({*words_of(30)} - {*model})
    assert f"of the lexicon alone: {' '.join(alone[:5])}; " in str(error.value)
    others = " ".join(word for word in model if word not in words_of(30)) or "none"
    assert f"of the model alone: {' '.join(others.split()[:5])}." in str(error.value)
    assert str(error.value).endswith(".") if not advice else advice in str(error.value)


def test_the_coverage_is_looked_at_before_long_ngrams_are_read(tmp_path):
    with pytest.raises(ValueError, match="has 0 of the 1 words"):
        copied(tmp_path, ARPA.replace("-0.1 TWO", "broken TWO"), ["MAT"])


def test_ngrams_in_the_wrong_place_are_left_out_and_shown(tmp_path, caplog):
    text = ARPA.replace("-0.2 TO </s>", "-0.2 TO <s>").replace("-0.1 TWO TO", "-0.1 </s> TO")
    copied(tmp_path, text)
    assert "2 n-grams left out" in caplog.text and ": </s> TO, TO <s>" in caplog.text
    assert "ngram 2=1 " in (tmp_path / "copy").read_text()
    caplog.clear()
    text = ARPA.replace("ngram 2=3\n", "ngram 2=3\nngram 3=2\n").replace(
        "\\end", "\\3-grams:\n-1 TO TWO TO\n-1 <s> TWO TO\n\n\\end"
    )
    copied(tmp_path, text)
    assert "1 n-grams left out" in caplog.text and ": TO TWO TO\n" in caplog.text


def test_a_model_that_no_memory_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(arpa, "_memory", lambda: 6 * arpa.GRAPH_BYTES)
    with pytest.raises(ValueError, match="more n-grams .* than 6.*prune the model.*--rescore_lm"):
        copied(tmp_path, ARPA)
    monkeypatch.setattr(arpa, "_memory", lambda: 7 * arpa.GRAPH_BYTES)
    copied(tmp_path, ARPA)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("\\data\\", "data"), "no line .*begins with 'A model made by some program.'"),
        (("\\end\\", ""), "cut off"),
        (("-0.2 TO </s>\n", ""), "lm:18: 3 2-grams expected, found 2"),
        (("ngram 2=3\n", ""), "lm:7: no back-off .* longest by the counts at the start"),
        (("ngram 2=3", "ngram 3=3"), "lm:5: `ngram 1=COUNT` lines"),
        (("-0.1 TWO TO", "-0.1 TWO"), "lm:16: the line of a 2-gram"),
        (("-0.1 TWO TO", "x TWO TO"), "lm:16: the line of a 2-gram"),
        (("-1.0 TO -0.5", "nan TO -0.5"), "lm:11: the line of a 1-gram"),
        (("-1.0 TO -0.5", "-1.0 TO inf"), "lm:11: the line of a 1-gram"),
        (("-1.0 TO -0.5", "-1e39 TO -0.5"), "lm:11: the line of a 1-gram"),
        (("-1.0 TO -0.5", "-1_0 TO -0.5"), "lm:11: the line of a 1-gram"),
        (("-1.0 TO -0.5", "-１.0 TO -0.5"), "lm:11: the line of a 1-gram"),
        (("-1.0 TO -0.5", "-1,0 TO -0,5"), "lm:11: the line of a 1-gram"),
        (("-1.0 TO -0.5", "-1.0\u00a0TO -0.5"), "lm:11: the line of a 1-gram"),
        (("-1.0 TO -0.5", "1.0 TO -0.5"), "lm:11: the logarithm of a probability, of 0 or less"),
        (("-0.1 TWO TO", "-0.1 TWO TO -0.5"), "lm:16: no back-off weight expected behind a 2-gram"),
        (("-1.0 TO -", "-1.0 TWO -"), "the 1-gram 'TWO' is there twice"),
        (("TWO TO", "<s> TWO"), "the 2-gram '<s> TWO' is there twice"),
        (("<s>", "<S>"), "has no <s>"),
    ],
)
def test_damaged_files_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        copied(tmp_path, ARPA.replace(*change))


@pytest.mark.parametrize("size", range(30, len(ARPA) - 6, 7))
@pytest.mark.parametrize("packed", ["", "whole", "cut"])
def test_files_that_are_cut_off_are_named(tmp_path, size, packed):
    raw = gzip.compress(ARPA.encode() if packed == "cut" else ARPA[:size].encode())
    raw = raw[: size * len(raw) // len(ARPA)] if packed == "cut" else raw
    path = tmp_path / ("lm.gz" if packed else "lm")
    path.write_bytes(raw if packed else ARPA[:size].encode())
    with pytest.raises(ValueError, match="lm"):
        copy_for_words(path, ["TO", "TWO"], tmp_path / "copy")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (gzip.compress(ARPA.encode(), mtime=0), "gzip"),
        (ARPA.encode("utf-16"), "UTF-16"),
        (ARPA.replace("TWO", "DÉJÀ").encode("latin-1"), "lm:12: UTF-8 text expected"),
        (arpa.KENLM_BINARY + b" format version 5\n\0\0\1", "KenLM's binary format.*--rescore_lm"),
        (b"\xd6\xfd\xb2\x7e\6\0\0\0vector", "transducer of OpenFst"),
        (b"blmt 3 5 3 2\n", "IRSTLM's binary format"),
        (b"SRILM_BINARY_NGRAM_002\n", "SRILM's binary format"),
        (b"<html>\n", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"", "is empty"),
        (b"THE CAT SAT\nON THE MAT\n", "no line .data.; it begins with 'THE CAT SAT'"),
    ],
)
def test_other_files_are_named(tmp_path, raw, message):
    (tmp_path / "lm").write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        copy_for_words(tmp_path / "lm", ["TO", "TWO"], tmp_path / "copy")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="no.arpa expected, but it is not there"):
        copy_for_words(tmp_path / "no.arpa", ["TO"], tmp_path / "copy")


def changed(rng):
    """The model with one or two random changes: of lines, of fields, of what is between them."""
    pieces = ["-1", "0", "5.", "1e", "TO", "</s>", "<s>", "<eps>", "#0", "É", "", "\t", " ", "\x0c"]
    pieces += ["\\end\\", "\\2-grams:", "ngram 2=0", "\u00a0", "\u2028", "+1", "--1", "0x1"]
    lines = ARPA.split("\n")
    for _ in range(rng.randint(1, 2)):
        n, piece = rng.randrange(len(lines)), rng.choice(pieces)
        fields = lines[n].split(" ")
        fields[rng.randrange(len(fields))] = piece
        other = [lines[n] + piece, piece + lines[n], " ".join(fields), lines[n].replace(" ", piece)]
        lines[n : n + 1] = rng.choice(
            [[], [rng.choice(lines), lines[n]], *([line] for line in other)]
        )
    return "\n".join(lines)


def test_what_passes_does_not_end_the_process(tmp_path):
    """kaldilm aborts on lines that it does not like; each model is given to it in a fork."""
    import kaldilm

    rng, n_passed = random.Random(5), 0
    table = tmp_path / "words.txt"
    table.write_text("<eps> 0\nTO 1\nTWO 2\n#0 3\n<s> 4\n</s> 5\n")
    for _ in range(400):
        text = changed(rng)
        try:
            copied(tmp_path, text)
        except ValueError:
            continue
        n_passed += 1
        child = os.fork()
        if not child:
            os.dup2(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            symbols = {"disambig_symbol": "#0", "read_symbol_table": str(table)}
            made = kaldilm.arpa2fst(str(tmp_path / "copy"), **symbols)
            os._exit(0 if made else 1)
        assert os.waitpid(child, 0)[1] == 0, text
        assert "skipped" not in (tmp_path / "log").read_text(), text
    assert n_passed > 40
