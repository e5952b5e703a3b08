"""Per-speaker normalisation and adaptation, estimated once and used by every job.

What is known of a speaker (cepstral mean and deviation, fMLLR transform) comes from at most
``max_seconds`` of that speaker's audio, chosen evenly over the sorted utterance ids of the WHOLE
data directory. Jobs that label parts of the directory only read it, so that labels do not depend
on the number of jobs. Where nothing is known of speakers, ``per_utterance`` takes every utterance
as a speaker of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.data.atomic import output_file
from speechlm.data.audio import read_audio
from speechlm.data.kaldi_dir import DataDir
from speechlm.recognizer.features import mean_normaliser, mfcc, normalise, with_higher_cepstra
from speechlm.recognizer.model import AlignmentModel, Scores
from speechlm.recognizer.transforms import apply

States = Callable[[str, np.ndarray, Scores, int], np.ndarray | None]
"""(utterance id, (T, 46) features, function that gives their (T, P) Gaussian log-likelihoods, round
of the estimation) -> (T,) states, or None if there is no path."""


@dataclass
class Speaker:
    """Mean and deviation (20,) of the cepstra, transform (D, D + 1)."""

    mean: np.ndarray
    deviation: np.ndarray
    transform: np.ndarray

    def features(self, model: AlignmentModel, cepstra: np.ndarray) -> np.ndarray:
        """(T, 20) raw cepstra -> (T, 46) float32.

        The first 39 are the adapted ones that the Gaussians score; then the higher cepstra.
        """
        normalised = normalise(cepstra, self.mean, self.deviation)
        adapted = apply(self.transform, model.project(normalised))
        return with_higher_cepstra(adapted, normalised)


def speaker_of(data: DataDir, utterance: str, per_utterance: bool) -> str:
    """Name under which an utterance's adaptation is kept."""
    return utterance if per_utterance else data.utt2spk[utterance]


def adaptation_utterances(
    data: DataDir, utterances: Sequence[str], max_seconds: float
) -> list[str]:
    """Utterances spread evenly over the sorted list, together about ``max_seconds`` long."""
    seconds = sum(data.samples()[u] for u in utterances) / 16000
    if seconds <= max_seconds:
        return list(utterances)
    count = max(1, round(len(utterances) * max_seconds / seconds))
    picked = np.linspace(0, len(utterances) - 1, count).round().astype(int)
    return [utterances[n] for n in sorted(set(picked.tolist()))]


def adapt(
    model: AlignmentModel,
    normalised: Sequence[np.ndarray],
    states_of: Callable[[int, np.ndarray, Scores, int], np.ndarray | None],
) -> np.ndarray:
    """Transform of one speaker from (T, 20) normalised cepstra; ``states_of`` sees (T, 46)."""
    return model.estimate(
        [model.project(x) for x in normalised],
        lambda n, adapted, scores, turn: states_of(
            n, with_higher_cepstra(adapted, normalised[n]), scores, turn
        ),
    )


def estimate_speaker(
    model: AlignmentModel,
    data: DataDir,
    utterances: Sequence[str],
    states_of: States,
    speed: float = 1.0,
) -> Speaker:
    """Statistics and transform of one speaker from some utterances.

    Raises:
        ValueError: not one frame of audio.
    """
    cepstra = [mfcc(read_audio(data.wav[u]), speed) for u in utterances]
    if not sum(len(x) for x in cepstra):
        raise ValueError(f"no audio of 25 ms or more among {' '.join(utterances[:5])}")
    mean, deviation = mean_normaliser(np.concatenate(cepstra))
    kept = [n for n, x in enumerate(cepstra) if len(x)]
    transform = adapt(
        model,
        [normalise(cepstra[n], mean, deviation) for n in kept],
        lambda n, features, scores, turn: states_of(utterances[kept[n]], features, scores, turn),
    )
    return Speaker(mean, deviation, transform)


def save_speakers(path: Path | str, speakers: dict[str, Speaker]) -> None:
    """Write one job's speakers (npz: names, and stacked arrays)."""
    names = sorted(speakers)
    with output_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            names=np.array(names, dtype=str),
            mean=np.array([speakers[n].mean for n in names]),
            deviation=np.array([speakers[n].deviation for n in names]),
            transform=np.array([speakers[n].transform for n in names]),
        )


def load_speakers(folder: Path | str) -> dict[str, Speaker]:
    """Read the ``speakers.*.npz`` of all jobs.

    Raises:
        ValueError: none there.
    """
    files = sorted(Path(folder).glob("speakers.*.npz"))
    if not files:
        raise ValueError(f"{folder}: no speakers.*.npz here (adapt_speakers makes them)")
    speakers: dict[str, Speaker] = {}
    for path in files:
        with np.load(path, allow_pickle=False) as data:
            arrays = (data["mean"], data["deviation"], data["transform"])
            for name, *values in zip(data["names"], *arrays, strict=True):
                speakers[str(name)] = Speaker(*values)
    return speakers
