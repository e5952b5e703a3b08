"""Vectorised look-up of the words of a text: bytes in, numbers of dictionary words out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechlm.data.splitmix import GOLDEN, mix

_BASE = int(GOLDEN)  # odd, so that it has an inverse modulo 2^64
_MODULUS = 1 << 64
_SLOTS_PER_WORD = 4


class WordTable:
    """Finds words by a 64-bit hash of their bytes, all words of a text at once.

    Several times as fast as a dictionary of strings, above all a large one, and no string is made.
    Two words of the table never share a hash (checked when it is made); a word outside it is taken
    for one of its n words with probability n / 2^64.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._codes = mix(np.arange(1, 257, dtype=np.uint64))
        self._powers = np.ones(1, np.uint64)
        self._inverses = np.ones(1, np.uint64)
        raw = np.frombuffer("".join(f"{word} " for word in words).encode("utf-8"), np.uint8)
        # Hashes in ascending order. The upper bits of a hash are its slot, at least 4 slots a word,
        # and `first` says where in the list each slot begins; no slot has more than `depth` hashes:
        #
        #   hashes   05  41  4f  c3
        #   slot      0   1   1   3       upper 2 of 8 bits
        #   first     0   1   3   3       of slots 0 .. 3; depth 2
        hashes = self._hash(raw, np.flatnonzero(raw == ord(" ")))
        order = np.argsort(hashes)
        sorted_hashes = hashes[order]
        if len(hashes) != len(words) or (sorted_hashes[1:] == sorted_hashes[:-1]).any():
            raise ValueError("words of a table must be different and have no spaces in them")
        bits = max(1, (len(words) * _SLOTS_PER_WORD).bit_length())
        self._shift = np.uint64(64 - bits)
        slots = np.arange(1 << bits, dtype=np.uint64) << self._shift
        self._first = np.searchsorted(sorted_hashes, slots)
        self._depth = int(np.diff(self._first, append=len(words)).max())
        # behind the last one some that stand for no word, so that no look-up leaves the list
        self._hashes = np.append(sorted_hashes, np.zeros(self._depth + 1, np.uint64))
        self._numbers = np.append(order, np.full(self._depth + 1, -1))

    def __call__(self, raw: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Number of each word in the list that the table was made of, -1 if it is not there.

        Args:
            raw: (n,) uint8 bytes of a text.
            ends: (W,) places of the byte after each word; a word starts behind the end of the one
                before.

        Returns:
            (W,) int64.
        """
        # for all words the first hash of their slots, then the next one for those not found
        hashes = self._hash(raw, ends)
        places = self._first[hashes >> self._shift]
        numbers = np.where(self._hashes[places] == hashes, self._numbers[places], -1)
        for step in range(1, self._depth):
            missing = np.flatnonzero(numbers < 0)
            candidates = places[missing] + step
            found = self._hashes[candidates] == hashes[missing]
            numbers[missing[found]] = self._numbers[candidates[found]]
        return numbers

    def _hash(self, raw: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Sum of code[byte] * base^place over each word, base^0 at its first byte: uint64 (W,)."""
        if not len(ends):
            return np.zeros(0, np.uint64)
        if len(raw) > len(self._powers):
            self._extend(2 * len(raw))
        # h(word) = mix(sum_j code[byte_j] base^j), j from the word's start. All words in one pass:
        # powers of the place in the text, summed over each word, then times base^-start.
        #
        #   raw     T H E _ C A T _         place i counts code[raw[i]] base^i, the end of a word 0
        #   start   0       4               sum over 4 .. 6, times base^-4
        terms = self._codes[raw]
        terms *= self._powers[: len(raw)]
        terms[ends] = 0
        starts = np.concatenate([[0], ends[:-1] + 1])
        return mix(np.add.reduceat(terms, starts) * self._inverses[starts])

    def _extend(self, size: int) -> None:
        self._powers = _powers(_BASE, size)
        self._inverses = _powers(pow(_BASE, -1, _MODULUS), size)


def _powers(base: int, size: int) -> np.ndarray:
    """1, base, base^2 .. modulo 2^64: uint64 (size,)."""
    factors = np.full(size, base, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)
