"""Random permutations of any length, of which single elements can be named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechlm.data.splitmix import FACTORS, GOLDEN


def permute(positions: np.ndarray, n: int, seed: Sequence[int]) -> np.ndarray:
    """Elements `positions` of a random permutation of 0 .. n-1, without making the whole of it.

    A Feistel network of four rounds over the next even power of two, walked until the result is
    below n (Black and Rogaway, Ciphers with arbitrary finite domains, 2002).
    """
    # The domain has 2^(2 half) elements, n to 4 n: the smallest even power of two, 4 at least.
    half = max(1, -(-int(n - 1).bit_length() // 2))
    mask = np.uint64((1 << half) - 1)
    keys = np.random.SeedSequence(list(seed)).generate_state(4, np.uint64)

    def shuffle(x: np.ndarray) -> np.ndarray:
        # (L, R) -> (R, L ^ f(R, key)), halves of `half` bits: a permutation whatever f is, as L
        # follows from the result by the same f. Here f is a multiplicative hash, twice.
        left, right = x >> np.uint64(half), x & mask
        for key in keys:
            mixed = (right + key) * GOLDEN
            mixed = (mixed ^ (mixed >> np.uint64(29))) * FACTORS[0]
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        return (left << np.uint64(half)) | right

    # A result that is not below n is shuffled again. Such a walk stays on its cycle of the larger
    # permutation, hence returns below n, and two walks never end at one place.
    x = shuffle(np.asarray(positions, np.uint64))
    while (outside := x >= n).any():
        x[outside] = shuffle(x[outside])
    return x.astype(np.int64)
