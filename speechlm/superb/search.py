"""Query by example: in which documents is what was said? Nothing is trained.

Q queries, N frames of a query, M frames of a document, D width of a layer.

As in s3prl: layers are normalised over all frames, distances are exp(1 - cosine) - 1, scaled to
0..1 for each frame of the query, and a query is aligned with any part of a document by dynamic time
warping with asymmetric steps (Sakoe and Chiba 1978), so that each frame of the query counts once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from speechlm.data.kaldi_dir import show_ids
from speechlm.data.task_data import DEV, DOC, TEST, TaskData
from speechlm.progress import progress
from speechlm.superb.features import Features
from speechlm.superb.metrics import BETA, TermWeighted, value
from speechlm.superb.training import Verdict

_SHORTEST = 5
"""Frames of a query that is searched for at all."""
_BLOCK = 100_000
"""Frames of documents that are compared at a time."""
_THRESHOLDS = 4000
"""Tried at most."""
_TINY = 1e-9


def search(task: TaskData, features: Features) -> Verdict:
    """Choose the layer on dev, then score it on test.

    Raises:
        ValueError: no query of a set is in any document.
    """
    layers = features.description.layers
    found = {n: _find(task, features, DEV, n)[0] for n in range(layers)}
    values = {n: value(scores) for n, scores in found.items()}
    best = max(values, key=lambda n: values[n])
    logging.info("layer %d of %d: dev %.4f", best + 1, layers, values[best])
    scores, notes = _find(task, features, TEST, best)
    weights = np.eye(layers)[best]
    dev = ", ".join(f"{n + 1}: {v:.3f}" for n, v in values.items())
    notes.append(f"layer {best + 1} is used; MTWV on dev by layer: {dev}")
    return Verdict({}, float("nan"), {"MTWV": [scores]}, [weights], notes)


def _find(task: TaskData, features: Features, group: str, layer: int) -> tuple[TermWeighted, list]:
    """Costs of the queries of a set at all thresholds, and what is odd."""
    queries, documents = task.members(group), task.members(DOC)
    truth = {q: {*task.labels[q].split()} & {*documents} for q in queries}
    searched = [q for q in queries if truth[q]]
    notes = []
    if len(searched) < len(queries):
        lost = len(queries) - len(searched)
        notes.append(f"{lost} queries of {group} are in no document and are not scored")
    if not searched:
        raise ValueError(f"queries of the set {group} that are said in a document expected: none")
    arrays = {u: features[u][:, layer] for u in (*searched, *documents)}
    mean, deviation = _statistics(list(arrays.values()))
    unit = {u: _unit((a - mean) / deviation) for u, a in arrays.items()}
    if short := [q for q in searched if len(arrays[q]) < _SHORTEST]:
        notes.append(
            f"{len(short)} queries of {group} have less than {_SHORTEST} frames, and are not "
            f"searched for: {show_ids(short)}"
        )
    ids = documents
    table = []
    for query in progress(searched, "queries"):
        distances = np.zeros(len(ids))
        if len(unit[query]) >= _SHORTEST:
            distances = distances_to(unit[query], [unit[d] for d in ids])
        scores = -distances
        table.append((scores - scores.mean()) / max(float(scores.std()), _TINY))
    same = np.array([[d in truth[q] for d in ids] for q in searched])
    return TermWeighted(costs(np.array(table), same)), notes


def distances_to(query: np.ndarray, documents: Sequence[np.ndarray]) -> np.ndarray:
    """Distance of a query to the part of each document that is most like it, by frame.

    Args:
        query: (N, D) of unit length.
        documents: each (M, D) of unit length.

    Returns:
        (documents,).
    """
    found: list[np.ndarray] = []
    block: list[np.ndarray] = []
    size = 0
    for document in documents:
        if block and size + len(document) > _BLOCK:
            found.append(_distances(query, block))
            block, size = [], 0
        block.append(document)
        size += len(document)
    found.append(_distances(query, block))
    return np.concatenate(found)


def _distances(query: np.ndarray, documents: Sequence[np.ndarray]) -> np.ndarray:
    """The same for documents that are compared at once, one behind the other."""
    lengths = np.array([len(d) for d in documents])
    starts = np.r_[0, np.cumsum(lengths)[:-1]]
    local = np.exp(1.0 - query @ np.concatenate(documents).T) - 1.0  # (N, all M)
    low = np.minimum.reduceat(local, starts, 1)
    high = np.maximum.reduceat(local, starts, 1)
    scale = np.maximum(high - low, _TINY)
    local = (local - low.repeat(lengths, 1)) / scale.repeat(lengths, 1)
    # total(i, j) = local(i, j) + min(total(i - 1, j), total(i - 1, j - 1), total(i - 1, j - 2)):
    # the document stands still, goes on by a frame, or skips one. Any j may be first and last.
    second = starts[lengths > 1] + 1
    total = local[0].copy()
    for row in local[1:]:
        one, two = np.roll(total, 1), np.roll(total, 2)
        one[starts] = two[starts] = two[second] = np.inf
        total = row + np.minimum(total, np.minimum(one, two))
    return np.minimum.reduceat(total, starts) / len(query)


def costs(scores: np.ndarray, same: np.ndarray) -> np.ndarray:
    """What each query costs at each threshold: misses + `BETA` false alarms, as shares.

    Args:
        scores: (Q, documents), larger where the query is more likely said.
        same: (Q, documents), whether it is said.

    Returns:
        (Q, thresholds): those between any two different scores, and beyond both ends; of very many
        scores some of the upper half, as false alarms are too dear for the lower one.
    """
    thresholds = np.r_[-np.inf, np.unique(scores)]
    if len(thresholds) > _THRESHOLDS:
        last = len(thresholds) - 1
        thresholds = thresholds[np.linspace(last // 2, last, _THRESHOLDS).round().astype(int)]
    result = np.empty((len(scores), len(thresholds)))
    for row, (values, said) in enumerate(zip(scores, same, strict=True)):
        hits, others = np.sort(values[said]), np.sort(values[~said])
        # What is not above a threshold is not found.
        missed = np.searchsorted(hits, thresholds, "right") / len(hits)
        alarms = len(others) - np.searchsorted(others, thresholds, "right")
        result[row] = missed + BETA * alarms / max(1, len(others))
    return result


def _statistics(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (D,) over all frames."""
    count = sum(len(a) for a in arrays)
    mean = sum(a.sum(0, dtype=np.float64) for a in arrays) / count
    squares = sum(np.square(a - mean).sum(0) for a in arrays)
    return mean, np.maximum(np.sqrt(squares / max(1, count - 1)), _TINY)


def _unit(frames: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(frames, axis=1, keepdims=True)
    return (frames / np.maximum(lengths, _TINY)).astype(np.float32)
