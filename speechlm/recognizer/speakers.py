"""Per-speaker normalisation and adaptation, estimated once and used by every job.

What is known of a speaker (cepstral mean and deviation, fMLLR transforms) comes from at most
`max_seconds` of that speaker's audio, chosen evenly over the sorted utterance ids of the WHOLE
data directory. Jobs that label parts of the directory only read it, so that labels do not depend
on the number of jobs. Where nothing is known of speakers, `per_utterance` takes every utterance
as a speaker of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.atomic import output_file
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.whole_files import read_arrays
from speechlm.recognizer.features import mean_normalizer, mfcc, normalize
from speechlm.recognizer.model import AlignmentModel, Frames, Scores, Transforms

States = Callable[[str, Frames, Scores, int], np.ndarray | None]
"""(utterance id, adapted frames, function that gives their (T, P) Gaussian log-likelihoods, round
of the estimation) -> (T,) states, or None if there is no path."""


@dataclass
class Speaker:
    """Mean and deviation (20,) of the cepstra, transforms."""

    mean: np.ndarray
    deviation: np.ndarray
    transforms: Transforms

    def frames(self, model: AlignmentModel, cepstra: np.ndarray) -> Frames:
        """(T, 20) raw cepstra -> adapted frames."""
        return self.transforms(model.project(normalize(cepstra, self.mean, self.deviation)))


def speaker_of(data: DataDir, utterance: str, per_utterance: bool) -> str:
    """Name under which an utterance's adaptation is kept."""
    return utterance if per_utterance else data.utt2spk[utterance]


def adaptation_utterances(
    data: DataDir, utterances: Sequence[str], max_seconds: float
) -> list[str]:
    """Utterances spread evenly over the sorted list, together about `max_seconds` long."""
    seconds = sum(data.samples()[u] for u in utterances) / SAMPLE_RATE
    if seconds <= max_seconds:
        return list(utterances)
    count = max(1, round(len(utterances) * max_seconds / seconds))
    picked = np.linspace(0, len(utterances) - 1, count).round().astype(int)
    return [utterances[n] for n in sorted(set(picked.tolist()))]


def estimate_speaker(
    model: AlignmentModel,
    data: DataDir,
    utterances: Sequence[str],
    states_of: States,
    speed: float = 1.0,
) -> Speaker:
    """Statistics and transforms of one speaker from some utterances.

    Raises:
        ValueError: not one frame of audio.
    """
    cepstra = [mfcc(data.waveform(u), speed) for u in utterances]
    if not sum(len(x) for x in cepstra):
        raise ValueError(f"no audio of 25 ms or more among {' '.join(utterances[:5])}")
    mean, deviation = mean_normalizer(np.concatenate(cepstra))
    kept = [n for n, x in enumerate(cepstra) if len(x)]
    transforms = model.estimate(
        [normalize(cepstra[n], mean, deviation) for n in kept],
        lambda n, frames, scores, turn: states_of(utterances[kept[n]], frames, scores, turn),
    )
    return Speaker(mean, deviation, transforms)


def save_speakers(path: Path | str, speakers: dict[str, Speaker]) -> None:
    """Write one job's speakers (npz: names, and stacked arrays)."""
    names = sorted(speakers)
    with output_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            names=np.array(names, dtype=str),
            mean=np.array([speakers[n].mean for n in names]),
            deviation=np.array([speakers[n].deviation for n in names]),
            gaussian=np.array([speakers[n].transforms.gaussian for n in names]),
            network=np.array([speakers[n].transforms.network for n in names]),
        )


def load_speakers(folder: Path | str) -> dict[str, Speaker]:
    """Read the `speakers.*.npz` of all jobs.

    Raises:
        ValueError: none there, or a damaged one.
    """
    files = sorted(Path(folder).glob("speakers.*.npz"))
    if not files:
        raise ValueError(f"{folder}: no speakers.*.npz here (adapt_speakers makes them)")
    speakers: dict[str, Speaker] = {}
    for path in files:
        keys = ("names", "mean", "deviation", "gaussian", "network")
        data = read_arrays(path, keys, "speakers", "run adapt_speakers again")
        for name, mean, deviation, *both in zip(*(data[key] for key in keys), strict=True):
            speakers[str(name)] = Speaker(mean, deviation, Transforms(*both))
    return speakers
