"""A small task of each kind, whose layers tell the answers."""

import numpy as np
import pytest

from speechlm.data.kaldi_dir import DataDir
from speechlm.data.task_data import TaskData, Trial
from speechlm.superb.upstream import Description

DESCRIPTION = Description("speechlm", 3, 8, 400, 320, "abc", "model")


class Told:
    """Layers by utterance: noise, and in the second layer a sign of each frame's symbol."""

    def __init__(self, signs: dict[str, list[int]], hidden_in: int = 1) -> None:
        self.description = DESCRIPTION
        self._signs, self._layer = signs, hidden_in

    def __getitem__(self, utterance: str) -> np.ndarray:
        rng = np.random.default_rng([ord(c) for c in utterance])
        signs = self._signs[utterance]
        layers = rng.normal(size=(len(signs), 3, 8)).astype(np.float32)
        layers[:, self._layer] += 12 * np.eye(8, dtype=np.float32)[signs]
        return layers


@pytest.fixture(scope="session")
def told():
    """The class `Told`."""
    return Told


@pytest.fixture(scope="session")
def make_task():
    """Function: {utterance: (set, label)} and trials -> task, and data of `frames` each."""

    def make(rows, frames, trials=()):
        samples = {u: 320 * (frames[u] - 1) + 400 for u in rows}
        wav = {u: f"{u}.wav" for u in rows}
        data = DataDir(wav, {u: u for u in rows}, n_samples=samples)
        task = TaskData(
            DataDir(wav, {u: u for u in rows}),
            {u: group for u, (group, _) in rows.items()},
            {u: label for u, (_, label) in rows.items()},
            [Trial(*t) for t in trials],
        )
        return task, data

    return make
