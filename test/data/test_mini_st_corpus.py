"""The corpus of the mini translation recipe: its grammar and its files."""

import importlib
import sys

import pytest

from speechlm.data.audio import decode_any
from speechlm.data.common_voice import read_common_voice
from speechlm.data.covost import Direction, read_covost
from speechlm.data.text_normalize import is_normal


@pytest.fixture(scope="module")
def local(root):
    """Import a module of egs/mini_st/local by name."""
    names = ("make_corpus", "parallel_grammar")
    folder = str(root / "egs" / "mini_st" / "local")
    sys.path.insert(0, folder)
    for name in names:
        sys.modules.pop(name, None)
    yield importlib.import_module
    sys.path.remove(folder)
    for name in names:
        sys.modules.pop(name, None)


def test_sentences_are_german(local):
    grammar = local("parallel_grammar")
    pairs = grammar.draw([3000], 1)[0]
    german = {pair.english: pair.german for pair in pairs}
    assert len(german) == 3000
    found = [g for e, g in german.items() if e.startswith("Has the ")]
    assert found and all(g.startswith("Hat d") and g.endswith("?") for g in found)
    later = [g for e, g in german.items() if e.startswith("I think that")]
    assert later and all(g.startswith("Ich denke, dass d") for g in later)
    participles = {fields[3] for fields in grammar.ParallelGrammar().words["verb"]}
    for english, text in german.items():
        if " has " in english:
            assert text.rstrip(".").split()[-1] in participles
    assert any(" den " in text for text in german.values())


def test_cases_and_genders(local):
    grammar = local("parallel_grammar").ParallelGrammar()

    class Fixed:
        """A generator that draws the first words: (definite article, adjective)."""

        def __init__(self, *values: bool) -> None:
            self.values = [0.0 if value else 0.9 for value in values]

        def integers(self, n: int) -> int:
            return 0

        def random(self) -> float:
            return self.values.pop(0)

    phrase = grammar._phrase("thing", Fixed(False, True))
    assert (phrase.english, phrase.nominative, phrase.accusative) == (
        "an old table",
        "ein alter Tisch",
        "einen alten Tisch",
    )
    phrase = grammar._phrase("thing", Fixed(True, True))
    assert (phrase.nominative, phrase.accusative) == ("der alte Tisch", "den alten Tisch")
    phrase = grammar._phrase("noun", Fixed(False))
    assert (phrase.english, phrase.nominative) == ("the farmer", "der Bauer")


def test_files(local, monkeypatch, tmp_path):
    corpus = local("make_corpus")
    sizes = "--train 9 --dev 2 --test 3 --speech 4 --transcribed 4 --text 30 --speakers 3 1 2"
    for name, jobs in (("one", "1"), ("two", "2")):
        words = ["--output", str(tmp_path / name), *sizes.split(), "--nj", jobs]
        monkeypatch.setattr(sys, "argv", ["make_corpus.py", *words])
        corpus.main()
    root = tmp_path / "one"
    parts = {}
    for part, n in (("train", 9), ("dev", 2), ("test", 3)):
        parts[part], report = read_covost(root / "en", root, Direction("en", ["de"]), part)
        assert len(parts[part]) == n and not report.items
        assert all(map(is_normal, parts[part].text.values()))
    sets = [set(data.utt2spk.values()) for data in parts.values()]
    assert [len(s) for s in sets] == [3, 1, 2] and not sets[0] & (sets[1] | sets[2])
    everything, _ = read_common_voice(root / "en", "validated.tsv", "en")
    transcribed, _ = read_common_voice(root / "en", "train.tsv", "en")
    assert (len(everything), len(transcribed)) == (18, 4)
    text = (root / "text" / "unpaired.txt").read_text().splitlines()
    assert len(text) == 30 and not set(text) & set(everything.text.values())
    for path in everything.wav.values():
        wave, rate = decode_any(path)
        assert rate == 32000 and 0.8 < len(wave) / rate < 8
    for path in sorted(root.rglob("*.tsv")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(root)).read_bytes()
    one, two = (sorted((tmp_path / d / "en" / "clips").iterdir()) for d in ("one", "two"))
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
