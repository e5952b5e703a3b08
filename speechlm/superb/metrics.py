"""What a head scores on a test set, item by item, so that resampled test sets can be scored too.

N items: utterances, trials or queries. R resamples. A score is that of items with weights (R, N):
how often each was drawn; ones for the test set as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import kaldialign
import numpy as np
from sklearn.metrics import roc_curve

Slots = Mapping[str, Sequence[str]]
"""Values by the name of the slot."""
BETA = 12.49
"""Cost of a false alarm against a miss: (1 / 100) (1 / 0.0008 - 1), as in QUESST 2014."""


class Scores(Protocol):
    """The items of a test set."""

    def score(self, weights: np.ndarray) -> np.ndarray:
        """Weights (R, N) -> (R,)."""

    def arrays(self) -> dict[str, np.ndarray]:
        """What it is made of, to be kept in a file."""

    def __len__(self) -> int:
        """N."""


@dataclass(frozen=True)
class Ratio:
    """A quotient of sums in percent: error rates, accuracy, means."""

    counts: np.ndarray
    """(N,) errors, right answers or values."""
    totals: np.ndarray
    """(N,) what they are out of."""

    def score(self, weights: np.ndarray) -> np.ndarray:
        """Weights (R, N) -> (R,) percent."""
        return 100.0 * (weights @ self.counts) / np.maximum(weights @ self.totals, 1e-9)

    def arrays(self) -> dict[str, np.ndarray]:
        """`counts` and `totals`."""
        return {"counts": self.counts, "totals": self.totals}

    def __len__(self) -> int:
        return len(self.counts)


@dataclass(frozen=True)
class EqualError:
    """Equal error rate in percent: where as many same speakers are refused as others accepted."""

    similarities: np.ndarray
    """(N,) of the trials."""
    same: np.ndarray
    """(N,) bool."""

    def score(self, weights: np.ndarray) -> np.ndarray:
        """Weights (R, N) -> (R,) percent."""
        return np.array([self._rate(row) for row in weights])

    def _rate(self, weights: np.ndarray) -> float:
        drawn = weights > 0
        if len({*self.same[drawn]}) < 2:
            return float("nan")
        accepted, found, _ = roc_curve(
            self.same[drawn], self.similarities[drawn], sample_weight=weights[drawn]
        )
        # Both rates are steps; the line between the steps around the crossing is taken.
        gap = (1 - found) - accepted  # falls from 1 to -1
        last = int(np.flatnonzero(gap >= 0)[-1])
        step = gap[last] - gap[min(last + 1, len(gap) - 1)]
        share = gap[last] / step if step else 0.0
        after = accepted[min(last + 1, len(accepted) - 1)]
        return float(100.0 * (accepted[last] + share * (after - accepted[last])))

    def arrays(self) -> dict[str, np.ndarray]:
        """`similarities` and `same`."""
        return {"similarities": self.similarities, "same": self.same}

    def __len__(self) -> int:
        return len(self.same)


@dataclass(frozen=True)
class TermWeighted:
    """Maximum term-weighted value: of finding queries in documents, at the best threshold."""

    costs: np.ndarray
    """(N, threshold): misses + `BETA` false alarms of each query, as shares."""

    def score(self, weights: np.ndarray) -> np.ndarray:
        """Weights (R, N) -> (R,) in -inf..1; 0 is what finding nothing gives."""
        means = (weights @ self.costs) / weights.sum(1, keepdims=True)
        return 1.0 - means.min(1)

    def arrays(self) -> dict[str, np.ndarray]:
        """`costs`."""
        return {"costs": self.costs}

    def __len__(self) -> int:
        return len(self.costs)


KINDS: tuple[Any, ...] = (Ratio, EqualError, TermWeighted)
"""What `from_arrays` tells apart by the names of the arrays."""


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Scores:
    """What `Scores.arrays` gave.

    Raises:
        ValueError: it is of no known kind.
    """
    for kind in KINDS:
        if {*arrays} == {*kind.__dataclass_fields__}:
            return kind(**arrays)
    raise ValueError(f"arrays of scores expected, got {' '.join(sorted(arrays))}")


def value(scores: Scores) -> float:
    """The score of the test set as it is."""
    return float(scores.score(np.ones((1, len(scores))))[0])


def joined(parts: Sequence[Scores]) -> Scores:
    """The items of several test sets, such as folds, as those of one."""
    if len(parts) == 1:
        return parts[0]
    arrays = [part.arrays() for part in parts]
    return from_arrays({name: np.concatenate([a[name] for a in arrays]) for name in arrays[0]})


def error_rate(pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> Ratio:
    """Edits of (reference, hypothesis) pairs, out of the references' tokens."""
    errors = [kaldialign.edit_distance(list(r), list(h))["total"] for r, h in pairs]
    return Ratio(np.array(errors, float), np.array([len(r) for r, _ in pairs], float))


def accuracy(right: np.ndarray) -> Ratio:
    """Share of right answers (N,) bool."""
    return Ratio(right.astype(float), np.ones(len(right)))


def slot_f1(pairs: Sequence[tuple[Slots, Slots]]) -> Ratio:
    """Mean over utterances of the F1 of slot names, of (reference, hypothesis) pairs."""
    values = []
    for reference, hypothesis in pairs:
        common = len({*reference} & {*hypothesis})
        size = len({*reference}) + len({*hypothesis})
        values.append(2 * common / size if size else 1.0)
    return Ratio(np.array(values), np.ones(len(values)))


def slot_cer(pairs: Sequence[tuple[Slots, Slots]]) -> Ratio:
    """Character errors of the values of reference slots, each against the nearest of its name.

    A slot that was not found has all its characters wrong.
    """
    errors, totals = [], []
    for reference, hypothesis in pairs:
        count = total = 0
        for name, values in reference.items():
            for text in values:
                candidates = hypothesis.get(name) or [""]
                found = (kaldialign.edit_distance(list(text), list(c)) for c in candidates)
                count += min(edits["total"] for edits in found)
                total += len(text)
        errors.append(count)
        totals.append(total)
    return Ratio(np.array(errors, float), np.array(totals, float))


def diarization_errors(reference: np.ndarray, hypothesis: np.ndarray) -> tuple[float, float]:
    """Errors and spoken time of a recording, in cells.

    In a cell of time with R and H speakers of which C are right, max(R, H) - C is missed, a false
    alarm or another speaker. The speakers of the hypothesis are named as is best for the whole.

    Args:
        reference: (cells, 2) bool.
        hypothesis: (cells, 2) bool.
    """
    spoken, said = reference.sum(1), hypothesis.sum(1)
    right = max((reference & named).sum() for named in (hypothesis, hypothesis[:, ::-1]))
    return float(np.maximum(spoken, said).sum() - right), float(spoken.sum())
