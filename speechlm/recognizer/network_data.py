"""Training data of the neural classifier, from alignments: context classes, splits, priors."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.data.archives import ArchiveReader, ArchiveWriter
from speechlm.data.atomic import output_dir, output_file
from speechlm.data.kaldi_dir import read_table, write_table
from speechlm.data.whole_files import read_arrays
from speechlm.progress import progress
from speechlm.recognizer.contexts import ContextStatistics, build_classes, count_stay, frame_classes
from speechlm.recognizer.labelling import read_speed, speed_mark
from speechlm.recognizer.topology import N_PDFS, NOISE_ID

SUBSAMPLING = 3
NAMES = ("feats", "classes", "states")
_LEAST_NOISE = 100


@dataclass
class ClassTable:
    """What the network's outputs mean.

    `table` (41, 364): class of (left base phone, output phone); `stay` (n, 2): log
    probabilities of staying in and leaving a class from step to step (30 ms); log priors of the
    classes (n,) and of the HMM states (P,); `noise_frames`: how many frames of noise the network
    was trained on.
    """

    table: np.ndarray
    stay: np.ndarray
    class_prior: np.ndarray
    state_prior: np.ndarray
    noise_frames: int = 0

    @property
    def n_classes(self) -> int:
        """Number of context classes."""
        return len(self.stay)

    @property
    def knows_noise(self) -> bool:
        """Whether the network has seen so much noise (1 s) that its scores of it mean something."""
        return self.noise_frames >= _LEAST_NOISE

    def save(self, path: Path | str) -> None:
        """Write an npz file."""
        with output_file(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **vars(self))

    @staticmethod
    def load(path: Path | str) -> ClassTable:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is missing or damaged.
        """
        names = [field.name for field in dataclasses.fields(ClassTable)]
        advice = "make_phone_classes makes it"
        arrays = read_arrays(path, names, "classes of phones", advice)
        noise = int(arrays.pop("noise_frames"))
        return ClassTable(**arrays, noise_frames=noise)


def original_ids(folder: Path, ids: Iterable[str]) -> dict[str, str]:
    """Id of the utterance at speed 1 for each id of a folder of alignments: `sp0.9-1-2` -> `1-2`.

    What an id begins with would not tell: a user's own ids may look like marked ones.
    """
    mark = speed_mark(read_speed(folder))
    return {utterance: utterance.removeprefix(mark) for utterance in ids}


def held_out(originals: Iterable[str], every: int = 20) -> set[str]:
    """Original ids kept for validation: every `every`-th of the sorted ones, at least one.

    Raises:
        ValueError: there are fewer than two.
    """
    ordered = sorted(set(originals))
    if len(ordered) < 2:
        raise ValueError(f"at least 2 aligned utterances expected, got {len(ordered)}")
    return set(ordered[min(every // 2, len(ordered) - 1) :: every])


def _log_prior(counts: np.ndarray) -> np.ndarray:
    counts = counts + 1.0
    return np.log(counts / counts.sum())


def _class_table(
    units: dict[Path, ArchiveReader],
    feats: dict[Path, ArchiveReader],
    folder_of: dict[str, Path],
    max_classes: int,
    min_count: float,
    max_hours: float,
) -> np.ndarray:
    """Grow the decision tree on (at most `max_hours` of) the alignments."""
    statistics, frames = None, 0
    for utterance, folder in progress(folder_of.items(), "utterances counted"):
        if frames > 360000 * max_hours:
            break
        features = feats[folder][utterance]
        labels = units[folder][utterance]
        statistics = statistics or ContextStatistics(features.shape[1])
        statistics.add(labels, features)
        frames += len(labels)
    if statistics is None:
        raise ValueError("no aligned utterances")
    return build_classes(statistics, max_classes, min_count)


def make_network_data(
    folders: Sequence[Path],
    output: Path,
    *,
    max_classes: int = 400,
    min_count: float = 300.0,
    classes_from: Path | None = None,
    max_hours: float = 20.0,
) -> ClassTable:
    """Classes of all aligned frames, and lists for training and validation.

    Writes `classes.{ark,scp}`, `classes.npz`, and `train/` and `valid/` with
    `feats.scp`, `classes.scp`, `states.scp`.

    Args:
        folders: outputs of `align --features` (several speeds), indices merged.
        classes_from: take the decision tree of this `classes.npz` instead of growing one.

    Raises:
        ValueError: no alignments, or an utterance in two folders.
    """
    units = {folder: ArchiveReader(folder / "units.scp") for folder in folders}
    feats = {folder: ArchiveReader(folder / "feats.scp") for folder in folders}
    folder_of: dict[str, Path] = {}
    for folder in folders:
        for utterance in units[folder]:
            if utterance in folder_of:
                raise ValueError(f"{utterance} is in {folder_of[utterance]} and in {folder}")
            folder_of[utterance] = folder
    if classes_from is None:
        table = _class_table(units, feats, folder_of, max_classes, min_count, max_hours)
    else:
        table = ClassTable.load(classes_from).table
    n_classes = int(table.max()) + 1
    class_counts, state_counts = np.zeros(n_classes), np.zeros(N_PDFS)
    output.mkdir(parents=True, exist_ok=True)
    with ArchiveWriter(output, "classes", 1) as writer:
        for utterance, folder in progress(folder_of.items(), "utterances"):
            classes = frame_classes(units[folder][utterance], table)
            writer.write(utterance, classes)
            class_counts += np.bincount(classes, minlength=n_classes)
    indices: dict[str, dict[str, str]] = {"feats": {}, "states": {}}
    for folder in folders:
        for name, index in indices.items():
            index.update(read_table(folder / f"{name}.scp"))
        for states in ArchiveReader(folder / "states.scp").values():
            state_counts += np.bincount(states, minlength=N_PDFS)
    indices["classes"] = read_table(output / "classes.1.scp")
    originals = {u: o for folder in folders for u, o in original_ids(folder, units[folder]).items()}
    _write_lists(output, indices, originals)
    stay = count_stay((units[folder][u] for u, folder in folder_of.items()), table, SUBSAMPLING)
    noise = int(class_counts[table[0, NOISE_ID]])
    result = ClassTable(table, stay, _log_prior(class_counts), _log_prior(state_counts), noise)
    result.save(output / "classes.npz")
    logging.info(
        "%d utterances, %d context classes, %d frames of noise", len(folder_of), n_classes, noise
    )
    return result


def _write_lists(
    output: Path, indices: dict[str, dict[str, str]], originals: dict[str, str]
) -> None:
    """`train/` and `valid/` indices of all three archives; validation has one speed only."""
    ids = sorted(indices["classes"])
    valid = held_out(originals.values())
    parts = {
        "valid": [u for u in ids if u == originals[u] and u in valid],
        "train": [u for u in ids if originals[u] not in valid],
    }
    for part, members in parts.items():
        with output_dir(output / part) as folder:
            for name in NAMES:
                write_table(folder / f"{name}.scp", {u: indices[name][u] for u in members})
