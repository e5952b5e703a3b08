"""Results of all tasks and upstreams as Markdown, and the layers' weights as a picture."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

import numpy as np

from speechlm.data.kaldi_dir import show_ids
from speechlm.pictures.look import SMALL, About, picture, write_cells
from speechlm.score.markdown import escape, markdown_table
from speechlm.superb.results import Result, Score, score_of

TASKS = {
    "pr": "phone recognition",
    "asr": "speech recognition",
    "ks": "keyword spotting",
    "ic": "intent classification",
    "sid": "speaker identification",
    "qbe": "query by example",
    "sf": "slot filling",
    "asv": "speaker verification",
    "sd": "diarization",
    "er": "emotion recognition",
}
"""In the order of the tables."""
_FALLING = ("PER", "WER", "CER", "EER", "DER")
"""Metrics of which less is better."""


def check_alike(results: Sequence[Result]) -> None:
    """Make sure that rows can be compared.

    Raises:
        ValueError: two results of a task and model, one name for two models, or test sets or seeds
            of a task that differ.
    """
    seen: dict[tuple[str, str], Result] = {}
    models: dict[str, Result] = {}
    tasks: dict[tuple[str, str], tuple[int, list[int], Result]] = {}
    for result in results:
        if (result.task, result.model) in seen:
            raise ValueError(f"two results of {result.model} on {result.task}")
        seen[result.task, result.model] = result
        other = models.setdefault(result.model, result)
        if not other.description.same_as(result.description):
            raise ValueError(
                f"one model under one name expected; {result.model} is another on {result.task} "
                f"(weights {result.description.weights[:8]}) than on {other.task} (weights "
                f"{other.description.weights[:8]}); run the tasks again with one of them"
            )
        for metric, parts in result.scores.items():
            mine = (len(parts[0]), result.seeds, result)
            size, seeds, first = tasks.setdefault((result.task, metric), mine)
            if (size, seeds) != mine[:2] and result.rate is not None:
                raise ValueError(
                    f"{result.task}: one test set and the same seeds expected; {first.model} has "
                    f"{size} items and seeds {seeds}, {result.model} {mine[0]} and {mine[1]}"
                )


def write_report(results: Sequence[Result], resamples: int, seed: int, pictures: str = "") -> str:
    """Tables of scores, of rates and of notes.

    Args:
        results: of any tasks and models.
        resamples: of the intervals.
        seed: of their draws.
        pictures: path of the picture of the weights, as the page shall name it; empty: none.
    """
    check_alike(results)
    models = list(dict.fromkeys(r.model for r in results))
    scores = {
        (r.task, metric, r.model): score_of(parts, resamples, seed)
        for r in results
        for metric, parts in r.scores.items()
    }
    lines = ["# SUPERB\n", _explanation(results), _score_table(scores, models)]
    lines += ["## Learning rates chosen on dev\n", _rate_table(results, models)]
    if pictures:
        lines += ["## Weights of the layers\n", f"![weights of the layers]({pictures})\n"]
    lines += ["## Models\n", _model_table(results)]
    notes = list(dict.fromkeys((r.task, r.model, note) for r in results for note in r.notes))
    if notes:
        lines.append("## Notes\n")
        lines.append("".join(f"- {t}, {escape(m)}: {escape(note)}\n" for t, m, note in notes))
    return "\n".join(lines)


def _explanation(results: Sequence[Result]) -> str:
    seeds = sorted({seed for r in results if r.rate is not None for seed in r.seeds})
    return (
        "A frozen network, a weighted sum of its layers, a small head for each task, whose "
        "learning rate alone is chosen, on dev. Scores are of the test set, means over the heads "
        f"of all seeds ({' '.join(map(str, seeds)) or '-'}); in brackets the interval of 95 %, "
        "from resampled items and seeds. PER, WER, CER, EER and DER are errors: less is better. "
        "Query by example trains nothing. `(best)` is the best mean, clear or not.\n"
    )


def _score_table(scores: Mapping[tuple[str, str, str], Score], models: Sequence[str]) -> str:
    rows = []
    for task, name in TASKS.items():
        for metric in dict.fromkeys(m for t, m, _ in scores if t == task):
            cells = [scores.get((task, metric, model)) for model in models]
            means = [cell.mean for cell in cells if cell]
            best = min(means) if metric in _FALLING else max(means)
            best = best if len(means) > 1 else math.nan
            items = next(cell.items for cell in cells if cell)
            texts = [_cell(cell, metric, cell is not None and cell.mean == best) for cell in cells]
            rows.append([f"{name} ({task})", metric, str(items), *texts])
    return markdown_table(["task", "metric", "items", *models], rows)


def _cell(score: Score | None, metric: str, best: bool) -> str:
    if score is None:
        return "-"
    digits = 3 if metric == "MTWV" else 1
    text = f"{score.mean:.{digits}f} [{score.low:.{digits}f}, {score.high:.{digits}f}]"
    return f"{text} (best)" if best else text


def _rate_table(results: Sequence[Result], models: Sequence[str]) -> str:
    rows = []
    for task in TASKS:
        own = {r.model: r for r in results if r.task == task and r.rate is not None}
        if own:
            tried = ", ".join(f"{rate:g}" for rate in next(iter(own.values())).rates)
            cells = [f"{own[m].rate:g}" if m in own else "-" for m in models]
            rows.append([task, tried, *cells])
    return markdown_table(["task", "tried", *models], rows)


def _model_table(results: Sequence[Result]) -> str:
    rows = []
    for model, result in {r.model: r for r in results}.items():
        d = result.description
        milliseconds = f"{1000 * d.framing.seconds:g}"
        rows.append([model, d.kind, str(d.layers), str(d.dim), milliseconds, d.weights[:8] or "-"])
    return markdown_table(["model", "kind", "layers", "width", "ms a frame", "weights"], rows)


def draw_weights(results: Sequence[Result], path: str | os.PathLike[str]) -> bool:
    """Draw the weights of the layers: a panel a model, a row a task, a column a layer.

    The darker, the larger; a number says how many hundredths (mean over seeds). Models of one layer
    are not drawn. Returns whether there was anything to draw.
    """
    drawn = [r for r in results if r.description.layers > 1]
    models = list(dict.fromkeys(r.model for r in drawn))
    tasks = [task for task in TASKS if any(r.task == task for r in drawn)]
    if not models:
        return False
    about = About(
        "Weights of the layers",
        "How much each layer counts for a task: hundredths, mean over seeds; the darker, the more.",
    )
    with picture(path, about, len(models), height=1.5 + 0.45 * len(tasks)) as axes:
        for one, model in zip(axes, models, strict=True):
            own = {r.task: r.weights.mean(0) for r in drawn if r.model == model}
            layers = max(map(len, own.values()))
            table = np.array([own.get(task, np.full(layers, np.nan)) for task in tasks])
            image = one.imshow(table, cmap="Greys", vmin=0, vmax=1, aspect="auto")
            texts = [[f"{100 * weight:.0f}" for weight in row] for row in table]
            write_cells(one, image, texts, SMALL - 2)
            one.set_xticks(range(layers), [str(n + 1) for n in range(layers)])
            one.set_yticks(range(len(tasks)), tasks)
            one.set_title(model, fontsize=SMALL)
            one.set_xlabel("layer", fontsize=SMALL)
    return True


def missing(results: Sequence[Result]) -> str:
    """A sentence on what some models lack, empty if nothing."""
    there = {(r.task, r.model) for r in results}
    tasks, models = {t for t, _ in there}, {m for _, m in there}
    lost = sorted(f"{t}/{m}" for t in tasks for m in models if (t, m) not in there)
    return f"{len(lost)} results are not there: {show_ids(lost)}" if lost else ""
