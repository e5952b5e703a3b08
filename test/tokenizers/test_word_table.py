"""WordTable against a dictionary."""

import random

import numpy as np
import pytest

from speechlm.tokenizers.word_table import WordTable


def _random_words(n, seed, letters="ABC'"):
    rng = random.Random(seed)
    words = {"".join(rng.choices(letters, k=rng.randint(1, 11))) for _ in range(n)}
    return sorted(words)


@pytest.mark.parametrize("n_words", [1, 2, 50, 30_000])
def test_finds_what_a_dictionary_finds(n_words):
    known = ["", *_random_words(n_words, 1), "X" * 500]
    table = WordTable(known)
    numbers = {word: n for n, word in enumerate(known)}
    rng = random.Random(2)
    pool = known + _random_words(2000, 3, "ABCD")
    for size in (1, 10, 3000, 100):
        words = rng.choices(pool, k=size)
        raw = np.frombuffer("".join(f"{word}\n" for word in words).encode(), np.uint8)
        found = table(raw, np.flatnonzero(raw == ord("\n")))
        assert found.tolist() == [numbers.get(word, -1) for word in words]


def test_anagrams_prefixes_and_repeats_differ():
    words = ["A", "AA", "AAA", "AB", "BA", "ABA", "AAB", "BAA", "A'", "'A"]
    raw = np.frombuffer(" ".join([*words, ""]).encode(), np.uint8)
    assert WordTable(words)(raw, np.flatnonzero(raw == ord(" "))).tolist() == list(range(10))


@pytest.mark.parametrize("words", [["A", "B", "A"], ["A B"]])
def test_bad_words(words):
    with pytest.raises(ValueError, match="different"):
        WordTable(words)
