"""Context-dependent classes of the neural classifier: a decision tree over left contexts.

Every phone of the graph is (class of the phone to its left, output phone). For each base phone the
pairs start together and are split by the question that raises the likelihood of single Gaussians
most: sets of left phones, the phone's own stress, its word position. Young, Odell & Woodland 1994,
with left contexts only, one state a phone, and stress and position as questions (shared roots).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from speechlm.recognizer.topology import (
    BASE_OF_PHONE,
    BASE_PHONES,
    NOISE_ID,
    PHONES,
    SILENCE_ID,
    position_of,
    stress_of,
)

N_BASE = len(BASE_PHONES)
N_PHONES = len(PHONES)
LEFT_SETS = tuple(
    frozenset(names.split())
    for names in (
        "SIL SPN",
        "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW",
        "IY IH EH EY AE AY OY",
        "AA AO OW UH UW AW",
        "ER R L W Y",
        "ER R",
        "L",
        "W UW OW AW",
        "M N NG",
        "P B M F V W",
        "T D N S Z TH DH L",
        "SH ZH CH JH Y",
        "K G NG HH",
        "P T K CH F TH S SH HH",
        "B D G JH V DH Z ZH",
        "P T K B D G",
        "S Z SH ZH F V TH DH",
        "T D",
        "S Z",
        "AH IH UH",
        "AY EY OY IY Y",
        "N",
        "M",
        "TH DH F V",
    )
)


def left_bases(labels: np.ndarray) -> np.ndarray:
    """Base phone left of each frame's phone: (T,) output phones -> (T,) numbers."""
    # A phone is a run of equal labels; left of the first one is silence:
    #
    #   labels   SIL SIL  HH_B HH_B  AY1_E AY1_E AY1_E
    #   left     SIL SIL  SIL  SIL   HH    HH    HH
    change = np.flatnonzero(np.diff(labels)) + 1
    starts = np.concatenate([[0], change])
    lefts = np.concatenate([[BASE_OF_PHONE[SILENCE_ID]], BASE_OF_PHONE[labels[change - 1]]])
    return np.repeat(lefts, np.diff(np.append(starts, len(labels))))


class ContextStatistics:
    """Count, sum and sum of squares (D,) of the frames of each (left base, output phone)."""

    def __init__(self, dim: int) -> None:
        self.sums = np.zeros((N_BASE * N_PHONES, 2 * dim + 1))

    def add(self, labels: np.ndarray, frames: np.ndarray) -> None:
        """Add one utterance: (T,) output phones, (T, D) features."""
        keys = left_bases(labels) * N_PHONES + labels
        # (T, 1 + 2 D) rows [1, x, x^2], added up over the frames of each pair
        rows = np.concatenate([np.ones((len(frames), 1)), frames, frames**2], axis=1)
        order = np.argsort(keys, kind="stable")
        unique, first = np.unique(keys[order], return_index=True)
        self.sums[unique] += np.add.reduceat(rows[order], first, axis=0)


def _likelihood(sums: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Log-likelihood (n,) of single diagonal Gaussians on their own data, (n, 2 D + 1) sums."""
    # L = -1/2 n sum_d log v_d - 1/2 n D (1 + log 2 pi), with v = E[x^2] - E[x]^2. The second term
    # is left out: that of a leaf is that of its two halves together, so it makes no difference to
    # gains.
    count = np.maximum(sums[:, :1], 1e-9)
    dim = (sums.shape[1] - 1) // 2
    mean = sums[:, 1 : dim + 1] / count
    variance = np.maximum(sums[:, dim + 1 :] / count - mean**2, floor)
    return -0.5 * sums[:, 0] * np.log(variance).sum(axis=1)


def _questions(pairs: np.ndarray) -> np.ndarray:
    """(Q, n) truth of every question for pairs (n, 2) of (left base, output phone)."""
    lefts = np.array(BASE_PHONES)[pairs[:, 0]]
    stress = np.array([stress_of(PHONES[p]) for p in pairs[:, 1]])
    position = np.array([position_of(PHONES[p]) for p in pairs[:, 1]])
    rows = [np.isin(lefts, sorted(names)) for names in LEFT_SETS]
    rows += [stress == digit for digit in "012"]
    rows += [np.isin(position, list(marks)) for marks in ("B", "I", "E", "S", "BS", "ES")]
    return np.array(rows)


@dataclass
class _Leaf:
    pairs: np.ndarray
    sums: np.ndarray
    gain: float
    yes: np.ndarray


def _leaf(pairs: np.ndarray, sums: np.ndarray, min_count: float, floor: np.ndarray) -> _Leaf:
    """A leaf with its best question (`gain` 0 if none leaves `min_count` on both sides)."""
    truth = _questions(pairs).astype(np.float64)
    total = sums.sum(axis=0, keepdims=True)
    # sums of the pairs that answer yes, for all questions at once: (Q, n) @ (n, 1 + 2 D)
    yes = truth @ sums
    no = total - yes
    gains = _likelihood(yes, floor) + _likelihood(no, floor) - _likelihood(total, floor)
    gains[(yes[:, 0] < min_count) | (no[:, 0] < min_count)] = 0.0
    best = int(np.argmax(gains))
    return _Leaf(pairs, sums, float(gains[best]), truth[best] > 0.5)


def build_classes(
    statistics: ContextStatistics, max_classes: int = 400, min_count: float = 300.0
) -> np.ndarray:
    """Class of every (left base, output phone): (41, 364) int64, -1 where it is no phone.

    Args:
        max_classes: number of leaves over all base phones (at least one each).
        min_count: fewest 10 ms frames of a leaf.
    """
    dim = (statistics.sums.shape[1] - 1) // 2
    everything = statistics.sums.sum(axis=0)
    mean = everything[1 : dim + 1] / max(everything[0], 1.0)
    # no variance below 1 % of that of all frames
    floor = 0.01 * np.maximum(everything[dim + 1 :] / max(everything[0], 1.0) - mean**2, 1e-6)
    # One root for each base phone holds its (left base, output phone) pairs: 41 lefts times, for a
    # vowel, 3 stresses and 4 positions. Silence and noise are never split.
    #
    #             AH                         a leaf that is split keeps its number,
    #   left in M N NG?                      its other half gets the next free one
    #     yes /     \ no
    #      leaf     final in its word?
    #                yes /     \ no
    #                 leaf     leaf
    leaves = []
    for base in range(N_BASE):
        phones = np.flatnonzero(BASE_OF_PHONE == base)
        pairs = np.array([(left, p) for left in range(N_BASE) for p in phones])
        sums = statistics.sums[pairs[:, 0] * N_PHONES + pairs[:, 1]]
        leaf = _leaf(pairs, sums, min_count, floor)
        if base in (BASE_OF_PHONE[SILENCE_ID], BASE_OF_PHONE[NOISE_ID]):
            leaf.gain = 0.0
        leaves.append(leaf)
    while len(leaves) < max_classes:
        # greedily the leaf whose best question gains most, whatever its base phone
        best = int(np.argmax([leaf.gain for leaf in leaves]))
        leaf = leaves[best]
        if leaf.gain <= 0.0:
            break
        halves = [
            _leaf(leaf.pairs[side], leaf.sums[side], min_count, floor)
            for side in (leaf.yes, ~leaf.yes)
        ]
        leaves[best] = halves[0]
        leaves.append(halves[1])
    table = np.full((N_BASE, N_PHONES), -1, dtype=np.int64)
    for number, leaf in enumerate(leaves):
        table[leaf.pairs[:, 0], leaf.pairs[:, 1]] = number
    return table


def base_of_class(table: np.ndarray) -> np.ndarray:
    """Base phone of every class."""
    bases = np.zeros(int(table.max()) + 1, dtype=np.int64)
    for phone in np.flatnonzero(BASE_OF_PHONE >= 0):
        bases[table[:, phone]] = BASE_OF_PHONE[phone]
    return bases


def frame_classes(labels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Class of each frame from its output phone (T,) and the phone to its left."""
    return table[left_bases(labels), labels]


def count_stay(all_labels: Iterable[np.ndarray], table: np.ndarray, step: int) -> np.ndarray:
    """Log probability (n, 2) of staying in and of leaving each class, at one frame in `step`."""
    n_classes = int(table.max()) + 1
    # p(leave) = visits / frames, as a visit of n frames is left once; counted from 2 visits of 2
    # steps, so that a class that is rare or never seen is left with probability 1/2.
    frames, visits = np.full(n_classes, 4.0), np.full(n_classes, 2.0)
    for labels in all_labels:
        # frames in the middle of each step, as the network sees them
        classes = frame_classes(labels, table)[step // 2 :: step]
        kept = labels[step // 2 :: step]
        frames += np.bincount(classes, minlength=n_classes)
        entered = np.concatenate([[True], np.diff(kept) != 0])[: len(kept)]
        visits += np.bincount(classes[entered], minlength=n_classes)
    leave = np.clip(visits / frames, 0.02, 0.98)
    return np.stack([np.log1p(-leave), np.log(leave)], axis=1)
