"""Heads are trained at several rates, the best in dev is chosen, and several seeds are tested.

B batch, T frames, L layers, D width.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.task_data import DEV, TEST, TRAIN
from speechlm.progress import Progress
from speechlm.superb import metrics
from speechlm.superb.config import Training
from speechlm.superb.features import Features
from speechlm.superb.heads import WeightedSum
from speechlm.superb.kept import KeptTrainings
from speechlm.superb.metrics import Scores
from speechlm.superb.problems import Outputs, Problem, Settings

_CLIP = 1.0
"""Largest norm of a gradient."""


@dataclass
class Trained:
    """The best head of a training."""

    dev: float
    """Its score on dev, by the first metric."""
    weights: np.ndarray
    """(L,) of the layers."""
    probe: Probe
    settings: Settings


@dataclass
class Verdict:
    """What a task says about an upstream."""

    rates: dict[float, float]
    """Score on dev by rate, with the first seed."""
    rate: float
    """The chosen one."""
    scores: dict[str, list[Scores]] = field(default_factory=dict)
    """Of the test set by metric, an entry a seed."""
    weights: list[np.ndarray] = field(default_factory=list)
    """(L,) of each seed; in several folds their mean."""
    notes: list[str] = field(default_factory=list)


class Probe(nn.Module):
    """A weighted sum of layers with a head on it."""

    def __init__(self, layers: int, head: nn.Module) -> None:
        super().__init__()
        self.sum, self.head = WeightedSum(layers), head


def judge(
    folds: Sequence[Problem],
    features: Features,
    training: Training,
    seeds: Sequence[int],
    device: str = "cpu",
    kept: KeptTrainings | None = None,
) -> Verdict:
    """Choose a rate on dev with the first seed, then test a head of each seed.

    Args:
        folds: the problem, or one for each fold: their test sets are scored together.
        features: layers of all utterances.
        training: steps, batches and rates.
        seeds: of initial weights and of the order of the batches.
        device: torch device.
        kept: where finished trainings are kept until all are.

    Raises:
        ValueError: with no rate the loss stays finite.
    """

    def trained(rate: float, seed: int) -> list[Trained]:
        return [
            _train_once(
                p, features, training, rate, seed, device, kept, f"{n}_{rate:g}_{seed}", shown
            )
            for n, p in enumerate(folds)
        ]

    runs = len(folds) * (len(training.rates) + len(seeds) - 1)
    with Progress("updates", training.steps * runs) as shown:
        return _chosen_and_tested(folds, features, training.rates, seeds, device, trained)


def _chosen_and_tested(
    folds: Sequence[Problem],
    features: Features,
    rates: Sequence[float],
    seeds: Sequence[int],
    device: str,
    trained: Callable[[float, int], list[Trained]],
) -> Verdict:
    """`judge`, with a function that trains heads of all folds at a rate, from a seed."""
    first: dict[float, list[Trained]] = {}
    for rate in rates:
        try:
            first[rate] = trained(rate, seeds[0])
        except Diverged as error:
            logging.warning("rate %g: %s", rate, error)
    if not first:
        raise ValueError(
            f"the loss is not finite with any of the rates {rates}; smaller ones are "
            "expected (rates in the configuration), or layers without very large numbers"
        )
    means = {rate: float(np.mean([t.dev for t in each])) for rate, each in first.items()}
    best = max(means, key=lambda r: means[r] if folds[0].higher_is_better else -means[r])
    notes = list(dict.fromkeys(note for problem in folds for note in problem.notes))
    diverged = [f"{rate:g}" for rate in rates if rate not in first]
    if diverged:
        notes.append(f"with the rate {', '.join(diverged)} the loss was not finite")
    tested = Verdict(means, best, notes=notes)
    for seed in seeds:
        chosen = first[best] if seed == seeds[0] else trained(best, seed)
        parts = [
            problem.score(outputs_of(t.probe, problem, features, TEST, device), TEST, t.settings)[0]
            for problem, t in zip(folds, chosen, strict=True)
        ]
        for name in folds[0].metrics:
            found = metrics.joined([part[name] for part in parts])
            tested.scores.setdefault(name, []).append(found)
        tested.weights.append(np.mean([t.weights for t in chosen], 0))
    return tested


class Diverged(ValueError):
    """A loss that is not finite."""


def train(
    problem: Problem,
    features: Features,
    training: Training,
    rate: float,
    seed: int,
    device: str,
    shown: Progress,
) -> Trained:
    """Train a head with Adam; the best in dev is kept.

    `shown` goes on by an update each time.

    Raises:
        Diverged: the loss is not finite.
        ValueError: all utterances are too short for what is said in them.
    """
    torch.manual_seed(seed)
    ids = problem.ids(TRAIN)
    if not ids:
        raise ValueError(
            f"the set {TRAIN} has no utterance that can be trained on: {'; '.join(problem.notes)}"
        )
    description = features.description
    probe = Probe(description.layers, problem.build(description.dim)).to(device)
    decay = training.weight_decay  # 0: AdamW is Adam
    optimizer = torch.optim.AdamW(probe.parameters(), rate, weight_decay=decay)
    batches = _batches(ids, training.batch, seed)
    crops = np.random.default_rng([seed, 1])
    frames = description.framing.frames(int(training.seconds * SAMPLE_RATE))
    best: Trained | None = None
    for step in range(1, training.steps + 1):
        probe.train()
        for _ in range(training.accumulate):
            ids = next(batches)
            layers, lengths = _padded(features, ids, frames, crops)
            x = probe.sum(layers.to(device))
            loss = problem.loss(probe.head, x, lengths.to(device), ids) / training.accumulate
            if not torch.isfinite(loss):
                raise Diverged(f"the loss of update {step} is {float(loss.detach())}")
            loss.backward()
        nn.utils.clip_grad_norm_(probe.parameters(), _CLIP)
        optimizer.step()
        optimizer.zero_grad()
        shown.advance(more=f"rate {rate:g}, seed {seed}")
        if step % training.evaluate == 0 or step == training.steps:
            outputs = outputs_of(probe, problem, features, DEV, device)
            scores, settings = problem.score(outputs, DEV, None)
            dev = metrics.value(scores[problem.metrics[0]])
            logging.info("rate %g, seed %d, update %d: dev %.4g", rate, seed, step, dev)
            if not math.isfinite(dev):
                raise Diverged(f"the score on dev after update {step} is {dev}")
            if best is None or (dev - best.dev) * (1 if problem.higher_is_better else -1) > 0:
                weights = probe.sum.weights().detach().cpu().numpy()
                best = Trained(dev, weights, copy.deepcopy(probe), settings)
    assert best is not None
    return best


def _train_once(
    problem: Problem,
    features: Features,
    training: Training,
    rate: float,
    seed: int,
    device: str,
    kept: KeptTrainings | None,
    name: str,
    shown: Progress,
) -> Trained:
    """`train`, or what it gave before an interruption."""
    if kept is None:
        return train(problem, features, training, rate, seed, device, shown)
    values = kept.load(name)
    if values is None:
        found = train(problem, features, training, rate, seed, device, shown)
        state = {key: value.cpu() for key, value in found.probe.state_dict().items()}
        kept.save(name, {"dev": found.dev, "settings": found.settings, "probe": state})
        return found
    logging.info("rate %g, seed %d: trained before", rate, seed)
    shown.skip(training.steps)
    probe = Probe(features.description.layers, problem.build(features.description.dim))
    probe.load_state_dict(values["probe"])
    weights = probe.sum.weights().detach().numpy()
    return Trained(values["dev"], weights, probe.to(device), values["settings"])


@torch.no_grad()
def outputs_of(
    probe: Probe, problem: Problem, features: Features, group: str, device: str, batch: int = 16
) -> Outputs:
    """What a head gives for each utterance of a set, without padding."""
    probe.eval()
    found: Outputs = {}
    ids = problem.ids(group)
    for start in range(0, len(ids), batch):
        some = ids[start : start + batch]
        layers, lengths = _padded(features, some)
        given = probe.head(probe.sum(layers.to(device)), lengths.to(device)).float().cpu().numpy()
        for utterance, row, n in zip(some, given, lengths.tolist(), strict=True):
            found[utterance] = row[:n] if given.ndim == 3 else row
    return found


def _batches(ids: Sequence[str], size: int, seed: int) -> Iterator[list[str]]:
    """Batches without end: epoch n is a permutation by (seed, n), its rest goes to the next."""
    rest: list[str] = []
    epoch = 0
    while True:
        order = np.random.default_rng([seed, 0, epoch]).permutation(len(ids))
        rest += [ids[i] for i in order]
        epoch += 1
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]


def _padded(
    features: Features, ids: Sequence[str], most: int = 0, rng: np.random.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Layers (B, T, L, D) padded with zeros, and frames (B,).

    Args:
        features: layers by utterance.
        ids: of the batch.
        most: longer utterances are cropped to so many frames; 0: none are.
        rng: of the places of crops.
    """
    arrays = []
    for utterance in ids:
        found = features[utterance]
        if rng is not None and 0 < most < len(found):
            start = int(rng.integers(len(found) - most + 1))
            found = found[start : start + most]
        arrays.append(torch.from_numpy(np.ascontiguousarray(found)))
    lengths = torch.tensor([len(a) for a in arrays])
    return nn.utils.rnn.pad_sequence(arrays, batch_first=True), lengths
