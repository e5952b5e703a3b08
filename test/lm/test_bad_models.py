"""What is given to the programs that make graphs, and to the search: no library ends the process.

kaldilm aborts where it does not like a line. Each case is a process of its own, which must end with
a line of ours and exit status 1.
"""

import gzip
import math
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from speechlm.decode.ctc_search import CTCSearch, Weights
from speechlm.lm.arpa import KENLM_BINARY
from speechlm.lm.search import Beam
from speechlm.recognizer.contexts import N_BASE
from speechlm.recognizer.network_data import ClassTable
from speechlm.recognizer.topology import BASE_OF_PHONE

ARPA = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-99\t<s>\t-0.5
-1.0\t</s>
-1.0\t<unk>\t0
-1.0\tTO\t-0.5
-1.0\tTWO\t-0.5

\\2-grams:
-0.3\t<s> TWO\t-0.2
-0.1\tTWO TO\t-0.2
-0.1\tTO TWO\t-0.2
-0.2\tTO </s>

\\3-grams:
-0.3\t<s> TWO TO
-0.1\tTWO TO </s>

\\end\\
"""
PHONES = "TO T UW1\nTWO T UW1\n"
RAW = ARPA.encode()


def in_a_process(work):
    """Do it in a child; its exit status, or the negative number of the signal that ended it."""
    child = os.fork()
    if not child:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """A folder that make_graph takes for the frame classifier's."""
    folder = tmp_path_factory.mktemp("classifier")
    table = np.where(BASE_OF_PHONE >= 0, BASE_OF_PHONE, -1)[None].repeat(N_BASE, axis=0)
    stay = np.full((N_BASE, 2), np.log(0.5))
    ClassTable(table, stay, np.zeros(N_BASE), np.zeros(1)).save(folder / "classes.npz")
    return folder


@pytest.fixture
def make(tmp_path, classes, run_main):
    """Function: program, model's file, lexicon's text -> (exit status, messages)."""

    def run(program, lm, lexicon=PHONES):
        (tmp_path / "lexicon").write_text(lexicon)
        words = ["--lm", lm, "--lexicon", tmp_path / "lexicon", "--output", tmp_path / "graph"]
        if program == "make_graph":
            words += ["--phone_model", classes]

        def work():
            done = run_main(program, *words)
            (tmp_path / "messages").write_text(done.stderr)
            return done.returncode

        code = in_a_process(work)
        return code, (tmp_path / "messages").read_text() if code >= 0 else ""

    return run


def changed(old, new):
    assert old.encode() in RAW
    return RAW.replace(old.encode(), new.encode())


MODELS = {
    "no file": (None, "lm expected, but it is not there"),
    "empty": (b"", "lm is empty"),
    "cut off": (RAW[:150], "lm:14: 5 1-grams expected|cut off|lm:1"),
    "packed, without the name": (gzip.compress(RAW, mtime=0), "gzip"),
    "no n-grams": (b"THE CAT SAT\n", "an ARPA file expected"),
    "KenLM's format": (KENLM_BINARY + b" format version 5\n\0\0", "--rescore_lm"),
    "UTF-16": (RAW.decode().encode("utf-16"), "UTF-16"),
    "Latin-1": (RAW.replace(b"<unk>", b"CAF\xc9"), "lm:9: UTF-8 text expected"),
    "lower case": (RAW.replace(b"TWO", b"two").replace(b"TO", b"to"), "is in lower case"),
    "weight behind the longest": (changed("<s> TWO TO", "<s> TWO TO\t-0.2"), "lm:20: no back-off"),
    "beyond 32 bits": (changed("-1.0\tTO", "-1e39\tTO"), "lm:10: the line of a 1-gram"),
    "other digits": (changed("-1.0\tTO", "-١.٠\tTO"), "lm:10: the line of a 1-gram"),
    "above 0": (changed("-1.0\tTO", "1.0\tTO"), "lm:10: the logarithm of a probability"),
    "not a number": (changed("-1.0\tTO", "nan\tTO"), "lm:10: the line of a 1-gram"),
    "twice": (changed("TO TWO\t", "TWO TO\t"), "the 2-gram 'TWO TO' is there twice"),
    "no start": (changed("-99\t<s>", "-99\t<S>"), "has no <s>"),
}


@pytest.mark.parametrize("program", ["make_ctc_graph", "make_graph"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_cannot_be_used_is_named(tmp_path, make, program, name):
    content, message = MODELS[name]
    if content is not None:
        (tmp_path / "lm").write_bytes(content)
    code, messages = make(program, tmp_path / "lm")
    assert code == 1, messages
    lines = [line for line in messages.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and any(part in lines[0] for part in message.split("|")), messages
    assert not (tmp_path / "graph").exists()


SOUND = {
    "plain": ("lm", RAW),
    "packed": ("lm.gz", gzip.compress(RAW, mtime=0)),
    "Windows": ("lm", RAW.replace(b"\n", b"\r\n")),
    "no long n-grams": (
        "lm",
        changed("ngram 3=2", "ngram 3=0")
        .replace(b"-0.3\t<s> TWO TO\n", b"")
        .replace(b"-0.1\tTWO TO </s>\n", b""),
    ),
    "weights of 0 behind the longest": ("lm", changed("<s> TWO TO", "<s> TWO TO\t0")),
    "blanks for tabs": ("lm", RAW.replace(b"\t", b" ")),
    "n-grams in the wrong place": ("lm", changed("TWO TO </s>\n\n", "TO TO </s>\n\n")),
}


@pytest.mark.parametrize("program", ["make_ctc_graph", "make_graph"])
@pytest.mark.parametrize("name", SOUND)
def test_a_model_that_can_be_used_makes_a_graph(tmp_path, make, program, name):
    file, content = SOUND[name]
    (tmp_path / file).write_bytes(content)
    code, messages = make(program, tmp_path / file)
    assert code == 0, messages
    assert (tmp_path / "graph" / "graph.fst").stat().st_size > 0
    if program == "make_ctc_graph":  # what the second search reads is unpacked
        plain = gzip.decompress(content) if file.endswith(".gz") else content
        assert (tmp_path / "graph" / "lm.arpa").read_bytes() == plain


@pytest.mark.parametrize(
    ("lexicon", "message"),
    [
        ("TO\nTWO\nCAFÉ\n", "lexicon:3: word 'CAFÉ' has the character 'É'"),
        ("TO T O |\nTWO T W o |\n", "lexicon:2: word 'TWO' has 'o' in its spelling"),
        ("TO T O |\nTWO |\n", "lexicon:2: word 'TWO' is spelled without a letter"),
        ("TO T O |\n\tT W O |\n", "lexicon:2: no word at the start"),
        ("", "lexicon is empty"),
        ("<s>\n</s>\n", "words expected, but there is none"),
        ("A\nB\nTO\n", "has 1 of the 3 words of the lexicon"),
    ],
)
def test_a_lexicon_that_cannot_be_used_is_named(tmp_path, make, lexicon, message):
    (tmp_path / "lm").write_bytes(RAW)
    code, messages = make("make_ctc_graph", tmp_path / "lm", lexicon)
    assert code == 1 and message in messages


def test_words_of_one_spelling_are_all_in_the_graph(tmp_path, make):
    """More than the six that flashlight takes; which is written, the word model says."""
    words = [f"TO{'O' * n}" for n in range(8)]
    lines = "".join(f"-1.{n}\t{word}\n" for n, word in enumerate(words))
    text = f"\\data\\\nngram 1=10\n\n\\1-grams:\n-99\t<s>\n-1\t</s>\n{lines}\n\\end\\\n"
    (tmp_path / "lm").write_text(text)
    code, messages = make(
        "make_ctc_graph", tmp_path / "lm", "".join(f"{word} T O |\n" for word in words)
    )
    assert code == 0 and "more than 6 words each" in messages
    found, _ = CTCSearch(tmp_path / "graph", Beam(100.0)).nbest(letters("TO"), Weights(), 8)
    assert [entry.words for entry in found] == [(word,) for word in words]


def test_words_without_a_unigram_are_listed(tmp_path, make):
    (tmp_path / "lm").write_bytes(RAW)
    code, messages = make("make_ctc_graph", tmp_path / "lm", "TO\nTWO\nCAT\n")
    assert code == 0 and "lacks 1 of the 3 words" in messages
    listed = tmp_path / "graph" / "words_without_unigram.txt"
    assert listed.read_text() == "CAT\n"
    assert make("make_ctc_graph", tmp_path / "lm", "TO\nTWO\n")[0] == 0
    assert not listed.exists()


def letters(word):
    """(T, V) log-probabilities that leave no doubt about a word's letters."""
    from speechlm.data.vocabulary import CharacterVocabulary

    vocabulary = CharacterVocabulary()
    ids = [n for letter in vocabulary.encode(word) for n in (letter, vocabulary.blank)]
    scores = np.full((len(ids), vocabulary.n_ids), -20.0, np.float32)
    scores[np.arange(len(ids)), ids] = 0.0
    return scores


@pytest.fixture
def graph(tmp_path, make):
    (tmp_path / "lm").write_bytes(RAW)
    assert make("make_ctc_graph", tmp_path / "lm")[0] == 0
    return tmp_path / "graph"


ABORT = """
import os
from pathlib import Path
from speechlm.lm.grammar import _without_notes, grammar_fst, word_symbols
grammar_fst(Path("lm"), word_symbols(["TO", "TWO"]), Path("."))
with _without_notes():
    os.write(2, b"[I] a note\\nwhy it ends\\n")
    os.abort()
"""


def test_kaldilms_notes_are_left_out_and_its_last_words_are_not(tmp_path, root):
    (tmp_path / "lm").write_bytes(RAW)
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", ABORT], cwd=tmp_path, env=environment, capture_output=True
    )
    assert done.returncode == -signal.SIGABRT
    assert b"[I]" not in done.stderr and done.stderr.endswith(b"why it ends\n")


VALUES = [
    *[(0.0, 1000, 20), (-1.0, 1000, 20), (math.nan, 1000, 20)],
    *[(12.0, 1, 0), (12.0, 0, 0), (12.0, -1, -2)],
    *[(12.0, 1000, -1), (12.0, 2**31, 20), (12.0, 1000.5, 20), (12.0, 1000, 0.5)],
]


@pytest.mark.parametrize("values", VALUES)
def test_beams_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError, match="(beam|max_active) is .* expected"):
        Beam(*values)


def test_narrow_searches_need_no_other_minimum():
    assert [Beam(max_active=n).least for n in (2, 20, 21, 1000)] == [1, 19, 20, 20]


def test_beams_that_pass_do_not_end_the_process(graph):
    rng, n_passed = random.Random(4), 0
    counts = [-1, 0, 1, 2, 3, 20, 1000, 2**31 - 1, 2**31, 2**40]
    beams = [-1.0, 0.0, 1e-30, 1e-3, 1.0, 12.0, 1e30, 1e39, math.inf]
    for _ in range(60):
        values = (rng.choice(beams), rng.choice(counts), rng.choice(counts[:5]))
        try:
            beam = Beam(*values)
        except ValueError:
            continue
        n_passed += 1
        search = CTCSearch(graph, beam)

        def work(search=search):
            search.decode(letters("TO"), Weights())
            search.nbest(letters("TO"), Weights(), 5)
            return 0

        assert in_a_process(work) == 0, values
    assert n_passed > 10
