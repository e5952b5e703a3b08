"""Weights of rescoring, tuned by word errors of a held-out set's n-best lists.

The sentences and their errors do not change, so that a point costs an array's product and the
highest entry of each list: hundreds of them are tried in a second.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import kaldialign
import numpy as np

from speechlm.decode.ctc_tuning import GRID, WEIGHTS, grid_text
from speechlm.decode.descent import Step, descend
from speechlm.decode.dev_errors import FEWEST_WORDS, Outcome
from speechlm.decode.rescore import LN10, Lists, Rescorer, RescoringWeights

PAPER = RescoringWeights(ngram_weight=0.0, neural_weight=0.9, word_score=-0.31)
"""Of a Transformer of words in the paper's beam search."""
SIZES = (0.25, 0.05)
"""First and last steps, as shares of the search's weight of its word model (of log10 P)."""


class ListErrors:
    """Errors by weights, of lists whose scores are complete.

    Args:
        lists: with the new scores.
        references: of the same utterances.
    """

    def __init__(self, lists: Lists, references: Mapping[str, str]) -> None:
        self.lists, self.points = lists, dict[RescoringWeights, Outcome]()
        self._words = [references[utterance].split() for utterance in lists.ids]
        self.words = sum(map(len, self._words))
        self._counts = _sentence_errors(lists, self._words)
        # without a list: all words are deleted
        self._empty = np.array([[0, len(words), 0] for words in self._words])

    def __call__(self, weights: RescoringWeights) -> int:
        """Number of errors."""
        if weights not in self.points:
            listed, best = self.lists.best(weights)
            counts = self._empty.copy()
            counts[listed] = self._counts[best]
            self.points[weights] = Outcome(counts, self.words, Counter(), 0, 0.0)
        return self.points[weights].errors

    def oracle(self) -> float:
        """WER (percent) of the best sentence of each list."""
        ends = zip(self.lists.starts[:-1], self.lists.starts[1:], strict=True)
        totals = self._counts.sum(1)
        best = [
            totals[start:end].min() if end > start else len(self._words[n])
            for n, (start, end) in enumerate(ends)
        ]
        return 100.0 * float(sum(best)) / self.words


def _sentence_errors(lists: Lists, references: Sequence[Sequence[str]]) -> np.ndarray:
    """(N, 3) substitutions, deletions, insertions of each sentence."""
    counts = np.zeros((len(lists.texts), 3), np.int64)
    for n, reference in enumerate(references):
        for place in range(lists.starts[n], lists.starts[n + 1]):
            errors = kaldialign.edit_distance(reference, lists.texts[place].split())
            counts[place] = errors["sub"], errors["del"], errors["ins"]
    return counts


@dataclass(frozen=True)
class RescoringTuning:
    """Tuned weights, and what they were chosen from."""

    weights: RescoringWeights
    points: Mapping[RescoringWeights, Outcome]
    before: Outcome | None
    """The search's own order."""
    source: str
    """tuned, paper (of a neural model) or search (of an n-gram)."""


def tune_rescoring(
    lists: Lists, references: Mapping[str, str], model: Rescorer, search: RescoringWeights
) -> RescoringTuning:
    """Coordinate descent from several places; without words to tune on, untuned weights.

    Args:
        lists: of the held-out set, with the new model's scores.
        references: of its utterances.
        model: what gave the scores.
        search: weights of the search.
    """
    words = sum(len(text.split()) for text in references.values())
    old, alone, half = starts(model, search)
    if words < FEWEST_WORDS or not lists.texts:
        logging.warning(
            "%d words of references and %d sentences; %d words or more expected to tune weights "
            "with: %s are taken",
            *(words, len(lists.texts), FEWEST_WORDS),
            "the paper's" if model.column == "neural" else "the search's",
        )
        if model.column == "neural":
            return RescoringTuning(PAPER, {}, None, "paper")
        return RescoringTuning(alone, {}, None, "search")
    errors = ListErrors(lists, references)
    rounds = [steps(model, lists, size * strength(search)) for size in SIZES]
    errors(old)
    for start in (old, half, alone):
        descend(errors, start, rounds)
    chosen = smoothest(errors, rounds[-1])
    logging.info(
        "WER %.2f %% -> %.2f %%; of the best sentence of each list %.2f %%",
        *(errors.points[old].wer, errors.points[chosen].wer, errors.oracle()),
    )
    return RescoringTuning(chosen, errors.points, errors.points[old], "tuned")


def order_of_before(model: Rescorer, search: RescoringWeights) -> RescoringWeights:
    """The search's weights, with a weight of 0 for the new scores."""
    name = f"{model.column}_weight"
    return replace(search, **{name: 0.0}, replaced_weight=getattr(search, name))


def strength(search: RescoringWeights) -> float:
    """What the search's word models weigh together, of log10 P."""
    return search.ngram_weight + LN10 * search.neural_weight


def starts(model: Rescorer, search: RescoringWeights) -> list[RescoringWeights]:
    """The order of before, the new model in place of the search's, and both with half a weight."""
    old = order_of_before(model, search)
    # w * log10 P = (w / ln 10) * ln P
    alone = RescoringWeights(0.0, 0.0, search.word_score)
    alone = replace(alone, **{f"{model.column}_weight": strength(search) / (LN10 / model.unit)})
    half = RescoringWeights(*((old.vector() + alone.vector()) / 2).tolist())
    return [old, alone, half]


def steps(model: Rescorer, lists: Lists, size: float) -> list[Step[RescoringWeights]]:
    """Steps of the weights whose parts are there, in log10 `size` long; weights stay above 0."""

    def along(**changes: float) -> Step[RescoringWeights]:
        def step(at: RescoringWeights, sign: int) -> RescoringWeights:
            moved = {name: getattr(at, name) + sign * by for name, by in changes.items()}
            return replace(
                at,
                **{
                    name: round(value if name == "word_score" else max(value, 0.0), 4)
                    for name, value in moved.items()
                },
            )

        return step

    nats = size / LN10
    found = [along(word_score=2 * size)]
    if "ngram" in lists.columns:
        found.append(along(ngram_weight=size))
    if "neural" in lists.columns:
        found.append(along(neural_weight=nats))
    if "ngram" in lists.columns and "neural" in lists.columns:
        # from one model to the other
        found.append(along(ngram_weight=-size, neural_weight=nats))
    if lists.parts[:, 3].any():
        unit = nats if model.column == "neural" else size
        found.append(along(replaced_weight=unit))
        found.append(along(replaced_weight=-unit, **{f"{model.column}_weight": unit}))
    return found


def smoothest(errors: ListErrors, fine: Sequence[Step[RescoringWeights]]) -> RescoringWeights:
    """Of the points with the fewest errors, the one whose neighbours have the fewest."""
    fewest = min(outcome.errors for outcome in errors.points.values())
    best = [weights for weights, outcome in errors.points.items() if outcome.errors == fewest]
    around = {w: sum(errors(step(w, sign)) for step in fine for sign in (1, -1)) for w in best}
    return min(best, key=lambda w: (around[w], dataclasses.astuple(w)))


def write_rescoring(tuning: RescoringTuning, folder: Path, model: Rescorer, **more: Any) -> None:
    """Write `weights.json` and `grid.tsv` into a folder.

    Args:
        tuning: what was found.
        folder: that is there.
        model: the second model.
        more: what else `weights.json` should hold.
    """
    outcome = tuning.points.get(tuning.weights)
    values = {
        **dataclasses.asdict(tuning.weights),
        "column": model.column,
        "unit": "neural_weight: of ln P; ngram_weight: of log10 P; replaced_weight: as the new one",
        "lm": model.path,
        "source": tuning.source,
        "points": len(tuning.points),
        "wer": round(outcome.wer, 3) if outcome else None,
        "wer_before": round(tuning.before.wer, 3) if tuning.before else None,
        "words": outcome.words if outcome else 0,
        **more,
    }
    (folder / WEIGHTS).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    (folder / GRID).write_text(grid_text(RescoringWeights, tuning.points), encoding="utf-8")
