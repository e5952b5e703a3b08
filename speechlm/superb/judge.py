"""A task and an upstream: from data and layers to what the test says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from speechlm.data.iemocap import SESSIONS
from speechlm.data.kaldi_dir import DataDir, show_ids
from speechlm.data.report import Report
from speechlm.data.task_data import DEV, TEST, TRAIN, TaskData
from speechlm.superb.config import Training, read_training
from speechlm.superb.corpora import CLASSIFICATION, check_classes
from speechlm.superb.features import Features
from speechlm.superb.kept import KeptTrainings
from speechlm.superb.problems import problem_of
from speechlm.superb.search import search
from speechlm.superb.training import Verdict, judge

_DEV_SHARE = 0.2
"""Of what is trained on in a fold."""


def judge_task(
    kind: str,
    folder: str | os.PathLike[str],
    data: DataDir,
    features: Features,
    config: str | os.PathLike[str] | None,
    seeds: Sequence[int],
    device: str = "cpu",
    kept: str | os.PathLike[str] | None = None,
) -> Verdict:
    """Test an upstream on a task.

    Args:
        kind: name of the task.
        folder: of the task's sets and labels.
        data: its utterances with their lengths, without what was left out since.
        features: their layers.
        config: YAML file with changes of the training's values.
        seeds: of the heads.
        device: torch device.
        kept: folder for finished trainings, by which an interrupted run goes on; None: none are.

    Raises:
        ValueError: sets, labels or layers are not those of the task, or cannot be learned.
    """
    task, notes = _kept(TaskData.read(folder), data)
    if kind == "qbe":
        tested = search(task, features)
    else:
        training = read_training(kind, config)
        folds = folds_of(task) if kind == "er" else [task]
        if kind in CLASSIFICATION:
            for fold in folds:
                check_classes(fold, Report())
        samples = data.samples()
        problems = [
            problem_of(kind, fold, training, features.description, samples) for fold in folds
        ]
        done = None
        if kept is not None:
            done = KeptTrainings(kept, _identity(task, training, features, samples))
        tested = judge(problems, features, training, seeds, device, done)
    tested.notes[:0] = notes
    return tested


def _identity(
    task: TaskData, training: Training, features: Features, samples: dict[str, int]
) -> str:
    """What a training follows from beside rate and seed."""
    rows = [f"{u} {task.sets[u]} {samples[u]} {task.labels[u]}\n" for u in sorted(task.sets)]
    rows += [f"{trial}\n" for trial in task.trials]
    data = hashlib.sha256("".join(rows).encode()).hexdigest()
    return f"{training}\n{replace(features.description, model='')}\n{data}\n"


def folds_of(task: TaskData) -> list[TaskData]:
    """Each session in turn is tested; of the others a fifth, drawn, is dev.

    Raises:
        ValueError: a session has no utterance.
    """
    folds = []
    for number, session in enumerate(SESSIONS):
        task.members(session)
        others = [u for u in sorted(task.sets) if task.sets[u] != session]
        order = np.random.default_rng([1, number]).permutation(len(others))
        held = {others[i] for i in order[: round(_DEV_SHARE * len(others))]}
        sets = dict.fromkeys(task.sets, TEST)
        sets |= {u: DEV if u in held else TRAIN for u in others}
        folds.append(replace(task, sets=sets))
    return folds


def _kept(task: TaskData, data: DataDir) -> tuple[TaskData, list[str]]:
    """What has usable audio, and sentences on what has not."""
    if foreign := sorted(data.wav.keys() - task.sets.keys()):
        raise ValueError(
            f"{len(foreign)} utterances are in no set of the task: {show_ids(foreign)}; data and "
            "task directory of one task are expected"
        )
    lost = sorted(task.sets.keys() - data.wav.keys())
    if not lost:
        return task, []
    kept = {*data.wav}
    trials = [t for t in task.trials if t.first in kept and t.second in kept]
    reduced = TaskData(
        task.data.subset(kept),
        {u: task.sets[u] for u in task.sets if u in kept},
        {u: task.labels[u] for u in task.labels if u in kept},
        trials,
    )
    note = f"{len(lost)} utterances were left out when audio was read: {show_ids(lost)}"
    if len(trials) < len(task.trials):
        note += f", and {len(task.trials) - len(trials)} trials with them"
    return reduced, [note]
