"""Random numbers as hashes: splitmix64 (Steele, Lea and Flood 2014), for whole arrays at once.

The generator adds `GOLDEN` to its 64-bit state and hashes the sum. The n-th number therefore
follows from the first state and n alone, in any order and without the numbers before it.
"""

from __future__ import annotations

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 / golden ratio, made odd: the step of the state (and invertible modulo 2^64)."""
FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""Multipliers of the hash (Stafford's 13th variant of MurmurHash3's finalizer)."""
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def mix(x: np.ndarray) -> np.ndarray:
    """The generator's hash, a bijection of 64-bit numbers: uint64 of any shape, in place."""
    x ^= x >> _SHIFTS[0]
    x *= FACTORS[0]
    x ^= x >> _SHIFTS[1]
    x *= FACTORS[1]
    x ^= x >> _SHIFTS[2]
    return x


def random_numbers(state: int, places: np.ndarray) -> np.ndarray:
    """Those of the generator's numbers 1, 2, .. at `places` (0: the hash of `state` itself).

    Args:
        state: what the generator starts from; taken modulo 2^64.
        places: integers of any shape, at least 0.

    Returns:
        uint64, in the shape of `places`.
    """
    return mix(np.asarray(places).astype(np.uint64) * GOLDEN + np.uint64(state % 2**64))
