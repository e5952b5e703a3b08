"""Emissions: a CTC model's log-probabilities of characters, computed once and kept as archives.

Tuning and every kind of decoding read them, so that the network runs once a set of utterances
(`write_emissions`), and decoding needs no network, nor torch.
T frames, V characters. A frame here is an output of the CTC head (20 ms in all sizes), of which a
fast model has two a frame of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.archives import ArchiveReader, read_frame_shift
from speechlm.data.kaldi_dir import read_table, show_ids
from speechlm.data.vocabulary import CharacterVocabulary

NAME = "emissions"
"""Name of the archives: emissions.JOB.ark, emissions.JOB.scp, emissions.scp."""
_EDGE = 5.0  # frames by which an utterance may be longer or shorter than its samples


def check_emissions(emissions: np.ndarray, where: str) -> np.ndarray:
    """(T, V) log-probabilities as contiguous float32, after checks.

    Raises:
        ValueError: another shape or type, or values that are not finite.
    """
    emissions = np.asarray(emissions)
    if emissions.ndim != 2 or emissions.shape[1] != CharacterVocabulary.n_ids:
        raise ValueError(
            f"{where}: log-probabilities of shape (frames, {CharacterVocabulary.n_ids}) expected, "
            f"got {emissions.shape}"
        )
    if emissions.dtype.kind != "f":
        raise ValueError(f"{where}: floating-point values expected, got {emissions.dtype}")
    bad = np.flatnonzero(~np.isfinite(emissions).all(1))
    if len(bad):
        raise ValueError(
            f"{where}: {len(bad)} of {len(emissions)} frames have values that are not finite "
            f"(first: frame {bad[0]}); the network's weights, or the audio, are broken"
        )
    return np.ascontiguousarray(emissions, dtype=np.float32)


class Emissions:
    """The archives of a folder, of which those of some utterances are wanted.

    Args:
        folder: of the archives.
        samples: of the utterances that are wanted.

    Raises:
        ValueError: there are none, or some of the utterances are neither in them nor among those
            that are too short.
    """

    def __init__(self, folder: str | os.PathLike[str], samples: Mapping[str, int]) -> None:
        self.folder, self._samples, ids = Path(folder), samples, list(samples)
        # archives without it are not compared with the audio
        shift = (self.folder / "frame_shift").is_file()
        self._shift = read_frame_shift(self.folder) * SAMPLE_RATE if shift else None
        self._reader = ArchiveReader(self.folder / f"{NAME}.scp")
        self._short = _too_short(self.folder)
        missing = [u for u in ids if u not in self._reader and u not in self._short]
        if missing:
            raise ValueError(
                f"{self.folder} lacks the emissions of {len(missing)} of {len(ids)} utterances: "
                f"{show_ids(missing)}; make them of the same data directory"
            )

    def __getitem__(self, utterance: str) -> np.ndarray:
        """(T, V) of an utterance; (0, V) of one that has no frame.

        Raises:
            ValueError: it is damaged, or not finite, or not as long as the audio is.
        """
        if utterance in self._short:
            found = np.zeros((0, CharacterVocabulary.n_ids), np.float32)
        else:
            found = check_emissions(self._reader[utterance], f"{self.folder}: {utterance}")
        if self._shift is not None:
            # A window is longer than a shift: an utterance has about one frame less than shifts;
            # with two CTC outputs a frame of the model one to three less.
            expected = self._samples[utterance] / self._shift
            if not expected - _EDGE <= len(found) <= expected + _EDGE:
                raise ValueError(
                    f"{self.folder}: {utterance} has {len(found)} frames, but {expected:.0f} or "
                    f"a few less are in {self._samples[utterance]} samples; the audio has changed, "
                    "or is of another set with such ids: make the emissions again"
                )
        return found


def _too_short(folder: Path) -> set[str]:
    return {u for path in folder.glob("skipped.*") for u in read_table(path, empty=True)}
