"""A made-up trigram model, as large as is asked for, that is a probability distribution.

Probabilities of all words after any history add up to one. Words come by Zipf's law and are spelled
in syllables, so that they begin alike as those of a language do.

N n-grams of an order, W tokens: `</s>`, `<s>`, then the words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

END, START = 0, 1
_END_SHARE = 0.06  # of all tokens: sentences of 16 words
_ROUNDS = 30

Draw = Callable[[], tuple[np.ndarray, np.ndarray]]


@dataclass
class Grams:
    """The n-grams of an order above one, sorted by context."""

    context: np.ndarray
    """(N,) rows of the order below: all words but the last."""
    lower: np.ndarray
    """(N,) rows of the order below: all words but the first."""
    probability: np.ndarray
    """(N,)."""
    back_off: np.ndarray
    """(N of the order below,) weights of the contexts; 1 where nothing follows."""


def write_made_up_arpa(
    arpa: Path, words_file: Path, n_words: int, n_grams: int, seed: int = 0
) -> list[int]:
    """Write a trigram model and the list of its words; returns the number of n-grams of each order.

    Args:
        arpa: file to write.
        words_file: a word a line.
        n_words: size of the vocabulary.
        n_grams: of all orders; beyond the words, five bigrams to three trigrams. Small vocabularies
            may not have so many.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    tokens = ["</s>", "<s>", *made_up_words(rng, n_words)]
    words_file.write_text("".join(f"{word}\n" for word in tokens[2:]))
    unigram = np.zeros(len(tokens))
    unigram[END] = _END_SHARE
    zipf = 1.0 / (np.arange(n_words) + 2.7)
    unigram[2:] = (1 - _END_SHARE) * zipf / zipf.sum()
    rest = max(0, n_grams - len(tokens))
    bigrams = _bigrams(rng, unigram, rest * 5 // 8)
    trigrams = _trigrams(rng, bigrams, rest - rest * 5 // 8)
    _write(arpa, tokens, unigram, bigrams, trigrams)
    return [len(tokens), len(bigrams.context), len(trigrams.context)]


def made_up_words(rng: np.random.Generator, n: int) -> list[str]:
    """N different words, the shorter ones first."""
    onsets = ["", *"BCDFGHLMNPRSTVW", "BR", "CH", "SH", "ST", "TH", "TR"]
    codas = ["", *"DKLMNRSTY", "NG", "CK", "RS"]
    syllables = np.array(["".join(parts) for parts in product(onsets, "AEIOU", codas)])
    words: dict[str, None] = {}
    length = 1
    while len(words) < n:
        drawn = rng.choice(syllables, (max(64, n // 2), length))
        words.update(dict.fromkeys("".join(row) for row in drawn))
        length = min(length + 1, 4)
    return list(words)[:n]


def _bigrams(rng: np.random.Generator, unigram: np.ndarray, n: int) -> Grams:
    before = unigram.copy()
    before[START], before[END] = unigram[END], 0.0  # a sentence begins as often as it ends
    both = np.cumsum(before), np.cumsum(unigram)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        # chances above 0, so that what has no probability is never drawn
        first, second = (np.searchsorted(sums, sums[-1] * (1 - rng.random(n))) for sums in both)
        return first, second

    context, lower = _different(rng, draw, n, len(unigram))
    return _estimate(rng, context, lower, unigram)


def _trigrams(rng: np.random.Generator, bigrams: Grams, n: int) -> Grams:
    # bigrams that begin with each token: first[token] .. first[token + 1]
    first = np.searchsorted(bigrams.context, np.arange(len(bigrams.back_off) + 1))
    lengths = np.diff(first)[bigrams.lower]
    usable = np.flatnonzero(lengths)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        # a bigram, and one that begins with its second word
        row = rng.choice(usable, n)
        step = (rng.random(n) * lengths[row]).astype(np.int64)
        return row, first[bigrams.lower[row]] + step

    context, lower = _different(rng, draw, n if len(usable) else 0, len(bigrams.context))
    return _estimate(rng, context, lower, bigrams.probability)


def _different(
    rng: np.random.Generator, draw: Draw, n: int, n_lower: int
) -> tuple[np.ndarray, np.ndarray]:
    """N different pairs (fewer if many rounds do not find them), sorted."""
    keys = np.zeros(0, np.int64)
    for _ in range(_ROUNDS if n else 0):
        context, lower = draw()
        keys = np.union1d(keys, context * n_lower + lower)
        if len(keys) >= n:
            keys = np.sort(rng.choice(keys, n, replace=False))
            break
    return keys // n_lower, keys % n_lower


def _estimate(
    rng: np.random.Generator, context: np.ndarray, lower: np.ndarray, p_lower: np.ndarray
) -> Grams:
    """Probabilities of n-grams, interpolated with the order below."""
    # p(w | h) = b(h) p(w | h') + (1 - b(h)) own(w | h),   own adds up to 1 over the listed words.
    # With b as back-off weight the others have b(h) p(w | h'): all add up to b + (1 - b).
    back_off = np.ones(len(p_lower))
    used = np.unique(context)
    back_off[used] = rng.uniform(0.2, 0.8, len(used))
    own = rng.exponential(size=len(context)) + 1e-3
    own /= np.bincount(context, own, len(p_lower))[context]
    weight = back_off[context]
    return Grams(context, lower, weight * p_lower[lower] + (1 - weight) * own, back_off)


def _write(
    arpa: Path, tokens: list[str], unigram: np.ndarray, bigrams: Grams, trigrams: Grams
) -> None:
    pairs = [
        f"{tokens[a]} {tokens[b]}" for a, b in zip(bigrams.context, bigrams.lower, strict=True)
    ]
    last = bigrams.lower[trigrams.lower]
    triples = [f"{pairs[row]} {tokens[c]}" for row, c in zip(trigrams.context, last, strict=True)]
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log10(unigram), -99.0)
    orders = (
        (tokens, logs, np.log10(bigrams.back_off)),
        (pairs, np.log10(bigrams.probability), np.log10(trigrams.back_off)),
        (triples, np.log10(trigrams.probability), None),
    )
    with arpa.open("w", encoding="utf-8") as file:
        file.write("\\data\\\n")
        file.writelines(f"ngram {n}={len(grams)}\n" for n, (grams, *_) in enumerate(orders, 1))
        for n, (grams, scores, back_offs) in enumerate(orders, 1):
            file.write(f"\n\\{n}-grams:\n")
            file.writelines(_lines(grams, scores, back_offs))
        file.write("\n\\end\\\n")


def _lines(grams: list[str], scores: np.ndarray, back_offs: np.ndarray | None) -> Iterable[str]:
    if back_offs is None:
        return (f"{p:.6f}\t{gram}\n" for p, gram in zip(scores, grams, strict=True))
    return (
        f"{p:.6f}\t{gram}\t{b:.6f}\n" for p, gram, b in zip(scores, grams, back_offs, strict=True)
    )
