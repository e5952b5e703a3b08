"""Weights of CTC decoding with a word model, tuned by word errors on a held-out set.

Source: SpeechLM, section V-A, takes LM weight 2 and word score -1 (Base, 4-gram of LibriSpeech). A
model of less data needs others, above all a blank score: its network says blank far too often.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from speechlm.decode.ctc_search import Weights
from speechlm.decode.descent import Step, descend
from speechlm.decode.dev_errors import DevErrors, Outcome

COARSE = (1.5, 2.0, 2.0)
"""First steps: factor of the LM weight, word score, blank score (nats)."""
FINE = (1.2, 1.0, 0.5)
"""Last steps; the table shows this neighbourhood."""
WORD_COST = 2.0
"""What a word costs in log10 P, by which the word score follows the LM weight: perplexity 100."""
WEIGHTS, GRID = "weights.json", "grid.tsv"
"""Files of a tuning's folder."""
_ROUNDS = 3


@dataclass(frozen=True)
class Tuning:
    """Tuned weights, and what they were chosen from."""

    weights: Weights
    points: Mapping[Weights, Outcome]
    """In the order in which they were tried; empty if there was nothing to tune on."""
    source: str
    """tuned, given or paper."""


def tune(errors: DevErrors, start: Weights, given: Collection[str] = ()) -> Tuning:
    """Coordinate descent over three weights, and a look around where it ends.

    Args:
        errors: counts them.
        start: where to begin; the paper's weights.
        given: names of weights that stay as they are.
    """
    free = [name for name in dataclasses.asdict(start) if name not in given]
    errors(start)
    # the strongest first: with a blank score wrong by far, the other two say nothing
    descend(errors, start, [_steps(free, sizes) for sizes in (COARSE, FINE)])
    chosen = choose(errors.points)
    # The table of neighbours may hold a better point than the descent has found: look again there.
    for _ in range(_ROUNDS):
        for weights in neighbours(chosen, free):
            errors(weights)
        before, chosen = chosen, choose(errors.points)
        if chosen == before:
            break
    return Tuning(chosen, errors.points, "tuned" if free else "given")


def _steps(free: Collection[str], sizes: tuple[float, float, float]) -> list[Step[Weights]]:
    factor, words, blanks = sizes

    def lm_weight(at: Weights, sign: int) -> Weights:
        # lm_weight * log10 P falls by WORD_COST a word for each 1 of the weight; the word score
        # gives that back, or else a larger weight would only write fewer words (in steps of 0.5,
        # so that ways cross at points that were decoded before)
        weight = _rounded(at.lm_weight * factor**sign)
        if "word_score" not in free:
            return replace(at, lm_weight=weight)
        score = at.word_score + WORD_COST * (weight - at.lm_weight)
        return replace(at, lm_weight=weight, word_score=round(2 * score) / 2)

    def word_score(at: Weights, sign: int) -> Weights:
        return replace(at, word_score=round(at.word_score + sign * words, 2))

    def blank_score(at: Weights, sign: int) -> Weights:
        return replace(at, blank_score=round(at.blank_score + sign * blanks, 2))

    return [step for step in (blank_score, lm_weight, word_score) if step.__name__ in free]


def _rounded(weight: float) -> float:
    """To three digits."""
    return float(f"{weight:.3g}")


def choose(points: Mapping[Weights, Outcome]) -> Weights:
    """The smallest LM weight among the points that are as good as the best, within noise.

    As good: their errors are less than a standard error more, that of the difference between the
    two, utterance by utterance. (The rule of one standard error: Breiman et al., Classification and
    Regression Trees, 1984, section 3.4.3.) Of these, those with the fewest errors.
    """
    best = min(points, key=lambda w: (points[w].errors, w.lm_weight))
    good = [w for w in points if _as_good(points[w], points[best])]
    return min(good, key=lambda w: (w.lm_weight, points[w].errors, abs(w.blank_score)))


def _as_good(outcome: Outcome, best: Outcome) -> bool:
    more = outcome.counts.sum(1) - best.counts.sum(1)
    # variance of a sum of N independent differences: N times that of one
    return more.sum() <= math.sqrt(len(more) * more.var())


def neighbours(centre: Weights, free: Collection[str]) -> list[Weights]:
    """LM weight x word score around a point, and blank scores beside it; itself in the middle."""
    lm_weights, word_scores, blank_scores = axes(centre, free)
    grid = [
        replace(centre, lm_weight=lm, word_score=words)
        for lm in lm_weights
        for words in word_scores
    ]
    return grid + [replace(centre, blank_score=blank) for blank in blank_scores]


def axes(centre: Weights, free: Collection[str]) -> tuple[list[float], list[float], list[float]]:
    """LM weights, word scores and blank scores of the neighbourhood, ascending."""
    factor, words, blanks = FINE
    lm_weight, word_score, blank_score = dataclasses.astuple(centre)
    signs = (-1, 0, 1)
    lm_weights = [_rounded(lm_weight * factor**s) if s else lm_weight for s in signs]
    return (
        lm_weights if "lm_weight" in free else [lm_weight],
        [round(word_score + s * words, 2) if s else word_score for s in signs]
        if "word_score" in free
        else [word_score],
        [round(blank_score + s * blanks, 2) if s else blank_score for s in signs]
        if "blank_score" in free
        else [blank_score],
    )


def neighbourhood_table(tuning: Tuning) -> str:
    """WER and deletions around the chosen weights, as lines for a terminal."""
    at = tuning.weights
    same_blank = [w for w in tuning.points if w.blank_score == at.blank_score]
    lm_weights = sorted({w.lm_weight for w in same_blank if w.word_score == at.word_score})
    word_scores = sorted({w.word_score for w in same_blank if w.lm_weight == at.lm_weight})
    rows = [["word score \\ LM weight", *(f"{lm:g}" for lm in lm_weights)]]
    for words in word_scores:
        row = (Weights(lm, words, at.blank_score) for lm in lm_weights)
        rows.append([f"{words:g}", *(_cell(tuning, weights) for weights in row)])
    blanks = sorted(
        w.blank_score for w in tuning.points if replace(w, blank_score=at.blank_score) == at
    )
    rows.append(["blank score", *(f"{blank:g}" for blank in blanks)])
    rows.append(["", *(_cell(tuning, replace(at, blank_score=blank)) for blank in blanks)])
    return "\n".join(
        "".join(f"{cell:>24}" if n == 0 else f"{cell:>14}" for n, cell in enumerate(r))
        for r in rows
    )


def _cell(tuning: Tuning, weights: Weights) -> str:
    outcome = tuning.points.get(weights)
    if outcome is None:
        return "-"
    mark = "*" if weights == tuning.weights else ""
    return f"{mark}{outcome.wer:.1f} ({100 * outcome.row()[1] / outcome.words:.0f} del)"


def warn_of_weak_model(outcome: Outcome) -> None:
    """Warn of weights that hide a model which has learned next to nothing."""
    deletions = outcome.row()[1]
    if deletions > outcome.words / 2:
        logging.warning(
            "%d of %d words are deleted even with the best weights: the model, or the word model, "
            "does not fit; see the errors of greedy decoding",
            *(deletions, outcome.words),
        )
    n_written = outcome.written.total()
    word, times = max(outcome.written.items(), key=lambda item: item[1], default=("", 0))
    if n_written and times > n_written / 2:
        logging.warning(
            "%d of the %d words that are written with the best weights are %s: the errors are "
            "those of a guess, not of recognition",
            *(times, n_written, word),
        )
    if outcome.unfinished:
        logging.warning("%d utterances ended without a final state", outcome.unfinished)


def grid_text(kind: type, points: Mapping[Any, Outcome]) -> str:
    """All points of a kind of weights, a line each, in the order in which they were tried."""
    names = [f.name for f in dataclasses.fields(kind)]
    more = ("wer", "sub", "del", "ins", "words", "unfinished", "seconds")
    lines = ["\t".join((*names, *more))]
    for weights, outcome in points.items():
        numbers = [f"{value:g}" for value in dataclasses.astuple(weights)]
        counts = [str(n) for n in (*outcome.row(), outcome.words, outcome.unfinished)]
        lines.append("\t".join((*numbers, f"{outcome.wer:.3f}", *counts, f"{outcome.seconds:.3f}")))
    return "\n".join(lines) + "\n"


def write_tuning(tuning: Tuning, folder: Path, beam: Mapping[str, float], **more: Any) -> None:
    """Write `weights.json` and `grid.tsv` into a folder.

    Args:
        tuning: what was found.
        folder: that is there.
        beam: of the search; the weights are good for it.
        more: what else `weights.json` should hold.
    """
    outcome = tuning.points.get(tuning.weights)
    values = {
        **dataclasses.asdict(tuning.weights),
        "beam": dict(beam),
        "source": tuning.source,
        "points": len(tuning.points),
        "wer": round(outcome.wer, 3) if outcome else None,
        "words": outcome.words if outcome else 0,
        "seconds": round(sum(o.seconds for o in tuning.points.values()), 2),
        **more,
    }
    (folder / WEIGHTS).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    (folder / GRID).write_text(grid_text(Weights, tuning.points), encoding="utf-8")
