"""Rules and network for words that no dictionary has."""

import random

import numpy as np
import pytest

from speechlm.data.lexicon import WORD_PHONES, Lexicon
from speechlm.tokenizers import g2p
from speechlm.tokenizers.derive import Deriver, add_d, add_s
from speechlm.tokenizers.g2p import NeuralG2P, Pronouncer


@pytest.fixture(scope="module")
def cmudict():
    return Lexicon.cmudict()


@pytest.fixture(scope="module")
def network():
    return NeuralG2P()


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
