"""Lexicons: reading, writing, covering texts; rules and network for unknown words."""

import random
import subprocess
import sys

import numpy as np
import pytest

from speechlm.data.vocabulary import phone_id
from speechlm.tokenizers import g2p
from speechlm.tokenizers.derive import Deriver, add_d, add_s
from speechlm.tokenizers.g2p import NeuralG2P, Pronouncer
from speechlm.tokenizers.lexicon import (
    WORD_PHONES,
    Lexicon,
    choose_words,
    count_words,
    cover,
    is_word,
)


@pytest.fixture(scope="module")
def cmudict():
    return Lexicon.cmudict()


@pytest.fixture(scope="module")
def network():
    return NeuralG2P()


def test_cmudict(cmudict):
    assert len(cmudict) > 120_000
    assert cmudict.variants("READ") == [("R", "EH1", "D"), ("R", "IY1", "D")]
    assert cmudict.variants("D'ARTAGNAN") == [("D", "AH0", "R", "T", "AE1", "NG", "Y", "AH0", "N")]
    phones = {p for variants in cmudict.entries.values() for v in variants for p in v}
    assert phones <= WORD_PHONES
    positioned = {p for w in list(cmudict)[:5000] for v in cmudict.position_dependent(w) for p in v}
    assert positioned <= phone_id.keys()
    with pytest.raises(ValueError, match="'QWERTYISH' is not in CMUdict"):
        cmudict.variants("QWERTYISH")


def test_read_librispeech_format(tmp_path):
    path = tmp_path / "librispeech-lexicon.txt"
    path.write_text(
        "<UNK> SPN\nA\tAH0\nA  EY1\nA''S  EY1 Z\nCAT K AE1  T\nCAT K AE1 T\n\n!SIL SIL\n"
    )
    lexicon = Lexicon.read(path)
    assert lexicon.entries == {
        "A": [("AH0",), ("EY1",)],
        "A''S": [("EY1", "Z")],
        "CAT": [("K", "AE1", "T")],
    }
    assert lexicon.position_dependent("A") == [["AH0_S"], ["EY1_S"]]
    lexicon.write(tmp_path / "out.txt")
    assert Lexicon.read(tmp_path / "out.txt").entries == lexicon.entries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A AH0\nDOG D AO4 G\n", "line 2: word 'DOG': no ARPAbet phones: AO4"),
        ("cat K AE1 T\n", "line 1: word 'cat' has characters"),
        ("CAT\n", "line 1: word 'CAT' has no phones"),
        ("DOG D_B AO1_I G_E\n", "D_B AO1_I G_E"),
        ("<UNK> SPN\n", "no pronunciations"),
    ],
)
def test_bad_lexicons(tmp_path, text, message):
    (tmp_path / "lexicon.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        Lexicon.read(tmp_path / "lexicon.txt")


def test_long_problem_lists_are_cut_and_counted(tmp_path):
    (tmp_path / "lexicon.txt").write_text("CAT\n" * 50)
    with pytest.raises(ValueError, match="50 in all"):
        Lexicon.read(tmp_path / "lexicon.txt")


def test_voicing():
    assert [add_s((p,))[1:] for p in ("T", "F", "D", "AH0", "N", "S", "JH", "Z")] == [
        *(("S",), ("S",), ("Z",), ("Z",), ("Z",)),
        *(("IH0", "Z"), ("IH0", "Z"), ("IH0", "Z")),
    ]
    assert [add_d((p,))[1:] for p in ("K", "S", "CH", "Z", "IY1", "T", "D")] == [
        *(("T",), ("T",), ("T",), ("D",), ("D",), ("IH0", "D"), ("IH0", "D"))
    ]


@pytest.mark.parametrize(
    ("word", "phones", "method"),
    [
        ("THOROUGHBREDS'S", None, None),
        ("TAILOR'S", "T EY1 L ER0 Z", "clitic"),
        ("REGIMENT'S", "R EH1 JH AH0 M AH0 N T S", "clitic"),
        ("WOLFHOUND'S", None, None),
        ("OX'S", "AA1 K S IH0 Z", "clitic"),
        ("TURN'D", "T ER1 N D", "clitic"),
        ("WITCH'LL", "W IH1 CH AH0 L", "clitic"),
        ("DISMOUNTS", "D IH0 S M AW1 N T S", "ending"),
        ("SNAPPISHNESS", None, None),
        ("MOODILY", "M UW1 D IY0 L IY0", "ending"),
        ("FLAVOUR", "F L EY1 V ER0", "spelling"),
        ("UNSELDOM", "AH0 N S EH1 L D AH0 M", "prefix"),
        ("DISSIMULATED", None, None),
        ("SILVERSMITH", "S IH1 L V ER0 S M IH2 TH", "compound"),
        ("QWERTYISH", None, None),
    ],
)
def test_derived_words(cmudict, word, phones, method):
    found = Deriver(cmudict.entries)(word)
    if method is not None:
        assert found == (tuple(phones.split()), method)
    elif found is not None:
        assert set(found[0]) <= WORD_PHONES


def test_endings_and_clitics_rebuild_hidden_words(cmudict):
    """Words of CMUdict that are hidden from the rules come out nearly as they stand there."""
    editdistance = pytest.importorskip("editdistance")
    plain = dict(cmudict.entries)
    words = random.Random(0).sample(sorted(w for w in plain if w.endswith(("'S", "ED", "LY"))), 800)
    errors = length = n = 0
    for word in words:
        variants = plain.pop(word)
        found = Deriver(plain)(word, 1)
        plain[word] = variants
        if found is None:
            continue
        stripped = [[p.rstrip("012") for p in v] for v in (found[0], *variants)]
        errors += min(editdistance.eval(stripped[0], v) for v in stripped[1:])
        length += len(stripped[1])
        n += 1
    assert n > 500
    assert errors / length < 0.04


def _slow_network(word):
    """The published network, one word and one step at a time, in float64."""
    from importlib.util import find_spec
    from pathlib import Path

    path = Path(find_spec("g2p_en").origin).parent / "checkpoint20.npz"
    w = {k: v.astype(np.float64) for k, v in np.load(path, allow_pickle=False).items()}

    def step(x, h, side):
        a = w[f"{side}_w_ih"] @ x + w[f"{side}_b_ih"]
        b = w[f"{side}_w_hh"] @ h + w[f"{side}_b_hh"]
        n = len(h)
        reset, update = 1 / (1 + np.exp(-(a + b)[: 2 * n])).reshape(2, n)
        return (1 - update) * np.tanh(a[2 * n :] + reset * b[2 * n :]) + update * h

    h = np.zeros(w["enc_w_hh"].shape[1])
    for symbol in [*(ord(c) - ord("A") + 3 for c in word), 2]:
        h = step(w["enc_emb"][symbol], h, "enc")
    phones, previous = [], 2
    while len(phones) < 60:
        h = step(w["dec_emb"][previous], h, "dec")
        previous = int((w["fc_w"] @ h + w["fc_b"]).argmax())
        if previous == 3:
            break
        phones.append(g2p._OUTPUTS[previous - 4].replace("UW ", "UW1 "))
    return tuple(phones)


def test_network_equals_its_definition(network):
    words = ["QWERTYISH", "ZYMOGENE", "A", "OUGH", "BORZOI", "SNICKERSNEE", "GALUMPHING", "SLITHY"]
    words += [w + "S" for w in words]
    assert network(words) == [_slow_network(word) for word in words]
    assert network(["SLITHY"]) == network(words)[7:8]
    assert network([]) == []


def test_every_word_gets_a_pronunciation(cmudict):
    words = ["BRILLIG", "BRILLIG'S", "X'", "'ZZZ'", "QQ", "A" * 40, "MC", "N'T", "CAT", "O'SLITHY"]
    say = Pronouncer(cmudict.entries)
    said = say(words)
    for word, (phones, method) in zip(words, said, strict=True):
        assert phones and set(phones) <= WORD_PHONES, word
        assert method
    assert dict(zip(words, said, strict=True))["CAT"] == (("K", "AE1", "T"), "dictionary")
    assert said[1] == (add_s(said[0][0]), "network+clitic")
    assert say(words[::-1]) == said[::-1]


def test_words():
    assert all(map(is_word, ["A", "'TIS", "DON'T", "BOYS'", "A''S"]))
    assert not any(map(is_word, ["", "'", "a", "A-B", "X1", "CAF\u00c9", "A B"]))


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "text").write_text("utt-1 HELLO BRILLIG WORLD\nutt-2 HELLO\n")
    (tmp_path / "novel.txt").write_text("THE WORLD\n\nTHE END OF THE WORLD\n")
    return [tmp_path / "text", tmp_path / "novel.txt"]


def test_count_and_choose(texts):
    assert count_words(texts) == {
        **{"HELLO": 2, "BRILLIG": 1, "WORLD": 3},
        **{"THE": 3, "END": 1, "OF": 1},
    }
    assert choose_words(texts) == ["THE", "WORLD", "HELLO", "BRILLIG", "END", "OF"]
    assert choose_words(texts, 4) == ["THE", "WORLD", "HELLO", "BRILLIG"]
    with pytest.raises(ValueError, match="-1 words at most"):
        choose_words(texts, -1)
    assert choose_words(texts, 1) == ["WORLD", "HELLO", "BRILLIG"]


def test_unusable_words_are_listed_with_their_place(texts):
    texts[1].write_text("GOOD\nBAD 12 WORDS\nCAF\u00c9 12\n")
    with pytest.raises(ValueError) as error:
        count_words(texts)
    assert "novel.txt:2: '12'" in str(error.value) and "novel.txt:3: 'CAF\u00c9'" in str(
        error.value
    )
    texts[1].write_text("\n")
    with pytest.raises(ValueError, match="novel.txt: no words"):
        count_words(texts)


def test_given_lexicon_goes_first(texts):
    given = Lexicon({"WORLD": [("W", "ER2")], "UNUSED": [("AH0",)]}, "mine")
    made = cover(count_words(texts), given)
    assert made.lexicon.variants("WORLD") == [("W", "ER2")]
    assert made.sources == {"mine": 1, "CMUdict": 4, "network": 1}
    assert made.predicted == {"BRILLIG": "network"} and "UNUSED" not in made.lexicon


def test_program(texts, tmp_path):
    command = [sys.executable, "-m", "speechlm.bin.make_lexicon", "--text", *map(str, texts)]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "lex")], capture_output=True, text=True, check=True
    )
    assert "6 words: CMUdict 5, network 1" in done.stderr and not done.stdout
    assert (tmp_path / "lex/words.txt").read_text().split() == sorted(count_words(texts))
    assert (tmp_path / "lex/predicted.txt").read_text() == "BRILLIG network B R IH1 L IH0 G\n"
    assert len(Lexicon.read(tmp_path / "lex/lexicon.txt")) == 6
    (tmp_path / "text").write_text("u 1%\n")
    done = subprocess.run([*command, "--output", "x"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "1%" in done.stderr and "Traceback" not in done.stderr
