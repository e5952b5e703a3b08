"""Interpolated modified Kneser-Ney n-gram models (Chen and Goodman 1998), estimated in numpy.

The definitions are those of KenLM's lmplz (Heafield et al. 2013), so that the two programs give the
same model: one `<s>` before a sentence; n-grams that start with it keep their counts in lower
orders, all others count the words seen before them; three discounts an order; unigrams are
interpolated with the uniform distribution over the vocabulary, `</s>` and `<unk>`; n-grams with
words outside the vocabulary, or pruned ones, are counted but left out, and their mass goes to the
back-off weight.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

UNK, BOS, EOS = range(3)
SPECIAL_WORDS = ("<unk>", "<s>", "</s>")
MAX_ORDER = 6
"""What KenLM reads, and it reads no unigram models."""
_FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
_BLOCK = 100_000


@dataclass
class Grams:
    """All n-grams of one order, N of them.

    `context` and `suffix` (N,): rows, in the next lower order, of the n-gram without its last
    and without its first word; `word` (N,): its last word; `count`; `adjusted`: the count
    that is discounted; `kept`: whether it is in the model; `probability`; `backoff` of the
    n-gram as a context (1 where it is none).
    """

    context: np.ndarray
    suffix: np.ndarray
    word: np.ndarray
    count: np.ndarray
    adjusted: np.ndarray
    kept: np.ndarray
    probability: np.ndarray
    backoff: np.ndarray


class _Ids(dict[str, int]):
    """Word -> id; words that are not there get the next free one."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class KneserNey:
    """An n-gram model, which is estimated when the object is made.

    `sentences`: words separated by spaces. `vocabulary`: the words of the model, all of them with
    a probability, also those not seen; None: the words of the sentences. `prune`: n-grams seen that
    many times or fewer are left out, a number for each order, the first 0, never falling.
    """

    def __init__(
        self,
        sentences: Iterable[str],
        order: int,
        vocabulary: Sequence[str] | None = None,
        prune: Sequence[int] = (),
    ) -> None:
        self.prune = check_prune(prune, order)
        ids = _Ids({word: n for n, word in enumerate(SPECIAL_WORDS)})
        for word in vocabulary or ():
            ids[word]
        n_listed = len(ids)
        stream = _read(sentences, ids)
        self.words = list(ids)[: n_listed if vocabulary is not None else None]
        self.orders = self._count(stream, order, len(ids))
        for n in range(1, order + 1):
            self._estimate(n)

    def _count(self, stream: np.ndarray, order: int, n_ids: int) -> list[Grams]:
        """Count n-grams of all orders in a stream of ids, sentence by sentence from `<s>`."""
        # place: words since the sentence's <s>, so that an n-gram ends where place >= n - 1
        #
        #   stream  <s> THE CAT </s> <s> A  DOG </s>
        #   place    0   1   2   3    0  1   2   3
        index = np.arange(len(stream))
        place = index - np.maximum.accumulate(np.where(stream == BOS, index, 0))
        row = stream.astype(np.int64)  # row of the n-gram that ends here
        count = np.bincount(stream, minlength=n_ids)
        none = np.zeros(0, np.int64)
        known = np.arange(n_ids) < len(self.words)
        starts_sentence = np.arange(n_ids) == BOS
        orders = [_grams(none, none, np.arange(n_ids), count, known)]
        for n in range(2, order + 1):
            ends = np.flatnonzero(place >= n - 1)
            # key: row of the first n - 1 words, which end one place earlier, and the last word
            key = row[ends - 1] * n_ids + stream[ends]
            unique, first, inverse, count = np.unique(key, True, True, True)
            first = ends[first]
            # rows in order n - 1, looked up where each n-gram first occurs
            context, suffix = row[first - 1], row[first]
            # What counts of order n - 1 is not how often an n-gram was seen but after how many
            # different words, one for each n-gram of order n that ends in it:
            #
            #   a(w_2 .. w_n) = |{v: c(v w_2 .. w_n) > 0}|
            #
            # Nothing comes before <s>, so that n-grams which begin with it keep their counts.
            lower = orders[-1]
            lower.adjusted = np.bincount(suffix, minlength=len(lower.word))
            if n > 2:
                lower.adjusted = np.where(starts_sentence, lower.count, lower.adjusted)
            starts_sentence = place[first] == n - 1
            word = unique % n_ids
            kept = known[word] & lower.kept[context] & (count > self.prune[n - 1])
            orders.append(_grams(context, suffix, word, count, kept))
            row = np.full(len(stream), -1)
            row[ends] = inverse
        orders[0].adjusted[BOS] = 0
        return orders

    def _estimate(self, n: int) -> None:
        """Probabilities of order n, and back-off weights of order n - 1."""
        grams = self.orders[n - 1]
        # left = a(h w) - D(a(h w)), D of 1, 2 and 3 or more; 0 for what is not in the model
        discounts = np.array([0.0, *discounts_of(grams.adjusted, n)])
        left = grams.adjusted - discounts[np.minimum(grams.adjusted, 3)]
        left[~grams.kept] = 0
        if n == 1:
            size = len(self.words) - 1  # all but <s>
            # p(w) = left / A + (1 - sum left / A) / size, A = sum a: equal shares of the rest
            left /= max(1, grams.adjusted.sum())
            grams.probability = left + (1 - left.sum()) / size
            grams.probability[BOS] = 0
            return
        lower = self.orders[n - 2]
        # With history h: p(w | h) = left / sum_v a(h v) + b(h) p(w | h without its first word), the
        # back-off weight b(h) being what the first terms leave of 1.
        total = np.bincount(grams.context, grams.adjusted, len(lower.word))
        left /= total[grams.context]
        lower.backoff = 1 - np.bincount(grams.context, left, len(lower.word))
        share = lower.backoff[grams.context]
        grams.probability = left + share * lower.probability[grams.suffix]

    def write_arpa(self, path: str | Path) -> None:
        """Write the model in ARPA format (log10), words of each order in no special order."""
        with open(path, "w", encoding="utf-8") as stream:
            counts = (f"ngram {n}={g.kept.sum()}\n" for n, g in enumerate(self.orders, 1))
            stream.writelines(["\\data\\\n", *counts])
            for n in range(1, len(self.orders) + 1):
                stream.write(f"\n\\{n}-grams:\n")
                stream.writelines(self._rows(n))
            stream.write("\n\\end\\\n")

    def _rows(self, n: int) -> Iterator[str]:
        grams = self.orders[n - 1]
        highest = n == len(self.orders)
        words = np.array(self.words, dtype=object)
        kept = np.flatnonzero(grams.kept)
        for start in range(0, len(kept), _BLOCK):
            chosen = kept[start : start + _BLOCK]
            with np.errstate(divide="ignore"):
                logs = np.maximum(np.log10(grams.probability[chosen]), -99.0).tolist()
                backoffs = np.log10(grams.backoff[chosen]).tolist()
            columns = [words[column].tolist() for column in self._history(n, chosen)]
            texts = map(" ".join, zip(*columns, strict=True))
            if highest:
                yield from (f"{p:.7g}\t{text}\n" for p, text in zip(logs, texts, strict=True))
            else:
                rows = zip(logs, texts, backoffs, strict=True)
                yield from (f"{p:.7g}\t{text}\t{b:.7g}\n" for p, text, b in rows)

    def _history(self, n: int, rows: np.ndarray) -> list[np.ndarray]:
        """Word ids of n-grams, first words first: n times (len(rows),)."""
        # from the last word backwards, following the contexts down to order 1
        columns = []
        for order in range(n, 0, -1):
            grams = self.orders[order - 1]
            columns.append(grams.word[rows])
            if order > 1:
                rows = grams.context[rows]
        return columns[::-1]


def _grams(
    context: np.ndarray, suffix: np.ndarray, word: np.ndarray, count: np.ndarray, kept: np.ndarray
) -> Grams:
    zeros, ones = np.zeros(len(word)), np.ones(len(word))
    return Grams(context, suffix, word, count, count, kept, zeros, ones)


def _read(sentences: Iterable[str], ids: _Ids) -> np.ndarray:
    """Ids of all sentences, `<s> words </s>` each, int32; empty ones left out."""
    blocks = []
    block: list[int] = []
    look_up = ids.__getitem__
    for sentence in sentences:
        words = sentence.split()
        if not words:
            continue
        if not {*SPECIAL_WORDS}.isdisjoint(words):
            raise ValueError(f"<s>, </s> and <unk> must not be in the text: {sentence[:100]!r}")
        block.append(BOS)
        block.extend(map(look_up, words))
        block.append(EOS)
        if len(block) > _BLOCK:
            blocks.append(np.array(block, np.int32))
            block = []
    if not blocks and not block:
        raise ValueError("no sentences to estimate a language model from")
    return np.concatenate([*blocks, np.array(block, np.int32)])


def check_prune(prune: Sequence[int], order: int) -> list[int]:
    """One threshold for each order, the last repeated.

    Raises:
        ValueError: they are of no use.
    """
    if not 2 <= order <= MAX_ORDER:
        raise ValueError(f"order of the model is {order}; expected 2 to {MAX_ORDER}")
    full = [*prune, *[prune[-1] if prune else 0] * (order - len(prune))]
    if len(full) > order or full[0] != 0 or min(full) < 0 or full != sorted(full):
        raise ValueError(
            f"prune is {' '.join(map(str, prune))}; expected at most {order} numbers (one an "
            "order), the first 0 as no word of the vocabulary may be lost, and never falling"
        )
    return full


def discounts_of(adjusted: np.ndarray, n: int) -> tuple[float, float, float]:
    """The three discounts, for counts 1, 2 and more, by Chen and Goodman's formula.

    Fixed ones (as lmplz's fallback) if the counts of counts allow no such estimate.
    """
    # t_k: n-grams of count k. Y = t_1 / (t_1 + 2 t_2), D_k = k - (k + 1) Y t_{k+1} / t_k.
    t = np.bincount(np.minimum(adjusted, 5), minlength=6)[:5].astype(float)
    if t[1] > 0 and t[2] > 0 and t[3] > 0:
        y = t[1] / (t[1] + 2 * t[2])
        values = [k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3)]
        if all(0 <= value <= k for k, value in enumerate(values, 1)):
            return values[0], values[1], values[2]
    logging.info("too few counts to estimate the discounts of order %d: %s used", n, "0.5 1 1.5")
    return _FALLBACK_DISCOUNTS
