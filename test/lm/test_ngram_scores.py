"""Probabilities of sentences by KenLM, against the definition; its messages as ours."""

import gzip
import math
import shutil
import subprocess

import numpy as np
import pytest

from speechlm.lm.arpa import read_arpa
from speechlm.lm.ngram_scores import MAX_ORDER, NgramLM

ARPA = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-99\t<s>\t-0.5
-1.25\t</s>
-2.5\t<unk>\t0
-1.0\tTO\t-0.25
-0.75\tTWO\t-0.5

\\2-grams:
-0.3\t<s> TWO
-0.1\tTWO TO
-0.2\tTO </s>

\\end\\
"""
# log10 of each word and of the end, with back-off weights where a 2-gram is not there
SENTENCES = {
    "TWO TO": -0.3 - 0.1 - 0.2,
    "TO": (-0.5 - 1.0) - 0.2,
    "TO TWO": (-0.5 - 1.0) + (-0.25 - 0.75) + (-0.5 - 1.25),
    "TWO CAT": -0.3 + (-0.5 - 2.5) + (0 - 1.25),
    "": -0.5 - 1.25,
}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_scores_are_natural_logarithms_of_whole_sentences(tmp_path, name):
    raw = gzip.compress(ARPA.encode(), mtime=0) if name.endswith(".gz") else ARPA
    model = NgramLM(write(tmp_path / name, raw))
    scores = model.sentence_scores([*SENTENCES])
    assert scores.shape == (len(SENTENCES),) and scores.dtype == np.float64
    np.testing.assert_allclose(scores, np.log(10) * np.array([*SENTENCES.values()]), rtol=1e-6)
    assert model.order == 2
    assert model.sentence_scores([]).shape == (0,)


@pytest.mark.parametrize("kind", ["probing", "trie"])
def test_binary_files_give_the_same(tmp_path, kind):
    program = shutil.which("build_binary")
    if program is None:
        pytest.skip("build_binary is not on PATH (make kenlm)")
    write(tmp_path / "lm.arpa", ARPA)
    command = [program, kind, tmp_path / "lm.arpa", tmp_path / "lm.bin"]
    subprocess.run(command, check=True, capture_output=True)
    scores = [
        NgramLM(tmp_path / name).sentence_scores([*SENTENCES]) for name in ("lm.arpa", "lm.bin")
    ]
    np.testing.assert_allclose(*scores, rtol=1e-5)
    with pytest.raises(ValueError, match="lm.bin: a graph needs an ARPA file, and this is KenLM's"):
        list(read_arpa(tmp_path / "lm.bin"))


def test_unknown_words_are_counted_with_repeats(tmp_path):
    model = NgramLM(write(tmp_path / "lm.arpa", ARPA))
    assert model.unknown_words(["TWO TO", "CAT CAT TO", "", "two"]) == 3
    (two, known), (cat, unknown), (end, _) = model.word_scores("TWO CAT")
    assert (known, unknown) == (False, True)
    assert math.isclose(two + cat + end, SENTENCES["TWO CAT"], rel_tol=1e-6)


def of_order(n):
    """A model of n-grams, one of each order."""
    counts = "".join(f"ngram {k}=1\n" for k in range(2, n + 1))
    longer = "".join(
        f"\\{k}-grams:\n-1\t{' '.join(['TO'] * k)}{chr(9) + '-.1' if k < n else ''}\n\n"
        for k in range(2, n + 1)
    )
    first = "-99\t<s>\t-0.5\n-1\t</s>\n-1\t<unk>\t0\n-1.0\tTO\t-.5\n\n"
    return f"\\data\\\nngram 1=4\n{counts}\n\\1-grams:\n{first}{longer}\\end\\\n"


def test_the_longest_ngrams_that_are_read(tmp_path):
    assert NgramLM(write(tmp_path / "lm", of_order(MAX_ORDER))).order == MAX_ORDER
    with pytest.raises(ValueError, match="lm: a model of 7-grams; .* up to 6-grams.*--order"):
        NgramLM(write(tmp_path / "lm", of_order(MAX_ORDER + 1)))


def test_a_model_without_the_ends_of_its_ngrams(tmp_path):
    """KenLM's usual format makes room for some of them only; this is no damage."""
    words = [f"W{n}" for n in range(40)]
    first = "".join(f"-2\t{word}\t0\n" for word in ["<s>", "</s>", "<unk>", *words])
    third = "".join(f"-1\tW0 W1 {word}\n" for word in words)
    text = f"\\data\\\nngram 1=43\nngram 2=1\nngram 3=40\n\n\\1-grams:\n{first}\n"
    text += f"\\2-grams:\n-1\tW0 W1\t0\n\n\\3-grams:\n{third}\n\\end\\\n"
    with pytest.raises(ValueError, match="lm: a model that lacks many ends.*build_binary trie"):
        NgramLM(write(tmp_path / "lm", text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lm is empty"),
        ("THE CAT\n", 'first non-empty line was "THE CAT" not'),
        (ARPA[:-40], "End of file"),
        (ARPA.replace("-1.0\tTO", "1.0\tTO"), "logarithm of a probability is above 0"),
        (ARPA.replace("-1.0\tTO", "-1.0 TO"), "Expected tab after probability"),
        (ARPA.replace("-1.0\tTO", "nan\tTO"), 'Could not parse "nan" into a float'),
        (ARPA.replace("TWO TO", "CAT TO"), "CAT"),
        (ARPA.replace("-99\t<s>\t-0.5\n", "").replace("1=5", "1=4"), "missing <s>"),
        (ARPA.encode("utf-16"), "UTF-16"),
        (b"\xe9" + ARPA.encode(), "lm:1: UTF-8 text expected"),
        (gzip.compress(ARPA.encode(), mtime=0)[:-40], "zlib"),
        (b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(200), "another version"),
        (b"mmap lm http://kheafield.com/code format version 5\n\0", "cut off binary file"),
        (
            gzip.compress(b"mmap lm http://kheafield.com/code format version 5\n\0", mtime=0),
            "binary file",
        ),
    ],
)
def test_messages_are_for_the_files_user(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as error:
        NgramLM(write(tmp_path / "lm", content))
    text = str(error.value)
    assert "lm" in text and not any(sign in text for sign in (".cc:", ".hh:", "threw", "::"))


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(ValueError, match="no.arpa expected, but it is not there"):
        NgramLM(tmp_path / "no.arpa")
    with pytest.raises(ValueError, match="is a folder"):
        NgramLM(tmp_path)
