"""Speech of pre-training: utterances of a data directory with their unit labels.

B utterances, S samples (16 kHz), L labels.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.archives import fit_to_audio, n_labels, read_array, read_unit_info
from speechlm.data.columns import portions
from speechlm.data.kaldi_dir import MOST_SHOWN, show_ids
from speechlm.data.unit_index import NONE, UnitIndex
from speechlm.data.utterances import Ids, Utterances
from speechlm.tasks.left_out import list_left_out
from speechlm.tasks.on_host import empty_to_share
from speechlm.tasks.rows_left_out import RowsLeftOut, RowsUsed
from speechlm.tasks.text_units import pad

_LOOKED_AT = 200  # utterances whose labels are read before training begins


class SpeechUnits:
    """Utterances of a data directory that have unit labels.

    Args:
        data_dir: Kaldi directory with utt2num_samples; utterances may be parts of long recordings.
        units: folder in it with the unit archives (`units.scp`, `tokens.txt`, `frame_shift`).
        label_rate: labels a second that the model expects.
        min_samples: shorter utterances are left out.
        max_samples: longer ones are cropped at random to this length.
        pad_audio: pad a batch to its longest utterance; else crop it to its shortest one, at
            random places (the authors' way).
        normalize: scale each whole utterance to zero mean and unit variance (Large).
        report: file that lists what was left out, and why; None: log only.

    A row of labels may be one too long or too short for its audio, by another program's rounding:
    the last is cut off or repeated.

    Raises:
        ValueError: no utterance is left; labels of another rate; label counts that do not fit the
            audio, or labels that tokens.txt does not have (ids are named).
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        units: str,
        label_rate: int,
        min_samples: int = 32000,
        max_samples: int = 250000,
        pad_audio: bool = False,
        normalize: bool = False,
        report: Path | None = None,
    ) -> None:
        folder = self.folder = Path(data_dir)
        self.max_samples, self.pad_audio, self.normalize = max_samples, pad_audio, normalize
        self.label_rate = label_rate
        self._utterances = Utterances(folder)
        self._shift, self.vocabulary = read_unit_info(folder / units)
        if round(1 / self._shift) != label_rate:
            raise ValueError(
                f"{folder / units / 'frame_shift'}: {1 / self._shift:g} labels a second, but the "
                f"model's label_rate is {label_rate}"
            )
        self._units = UnitIndex(folder / units, self._utterances)
        self._rows, odd = self._choose(units, min_samples, report)
        self.ids = Ids(self._utterances, self._rows)
        """Of the utterances that are used, in the order of their indices."""
        self._refuse(odd)
        for index in np.unique(np.linspace(0, len(self) - 1, _LOOKED_AT).astype(np.int64)):
            self._labels(index)

    def _choose(
        self, units: str, min_samples: int, report: Path | None
    ) -> tuple[RowsUsed, np.ndarray]:
        """Rows of the utterances that are used, and (n,) of those of them whose labels do not fit.

        The others are listed.
        """
        n = len(self._utterances)
        short, without, odd = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
        for start, stop in portions(n):
            samples = self._utterances.columns.read("samples", start, stop)
            archive = self._units.columns.read("archive", start, stop)
            labels = self._units.columns.read("labels", start, stop)
            there, long = archive != NONE, samples >= min_samples
            misfit = (labels < 0) | (abs(labels - n_labels(samples, self._shift)) > 1)
            parts = (there & ~long, ~there, there & long & misfit)
            for found, chosen in zip((short, without, odd), parts, strict=True):
                found.append(start + np.flatnonzero(chosen))
        others = np.concatenate(short), np.concatenate(without)
        rows = RowsUsed(n, np.sort(np.concatenate(others)))
        left_out = RowsLeftOut(self._utterances, units, min_samples, *others)
        list_left_out(left_out, len(rows), self.folder, report)
        if not len(rows):
            left_out.refuse(str(self.folder))
        return rows, np.concatenate(odd)

    def _refuse(self, rows: np.ndarray) -> None:
        """ValueError if there are utterances whose labels do not fit."""
        scp, units = self._units.scp, self._units
        for row in rows[units.labels[rows] < 0][:1]:
            ark, utterance = units.archives[units.archive[row]], self._utterances.id(row)
            raise ValueError(
                f"{ark}: no vector of labels at byte {units.offset[row]} for {utterance}"
            )
        if len(rows):
            wrong = [
                f"{self._utterances.id(row)} ({units.labels[row]} labels, {self._expected(row)} "
                f"expected of {self._utterances.samples[row]} samples)"
                for row in rows[:MOST_SHOWN].tolist()
            ]
            raise ValueError(
                f"{scp}: the number of labels does not fit the audio of {len(rows)} utterances; "
                f"make the units again: {show_ids(wrong, len(rows))}"
            )

    def _expected(self, row: int) -> int:
        """Labels that the audio of an utterance should have."""
        return n_labels(self._utterances.columns.value("samples", row), self._shift)

    def _labels(self, index: int) -> np.ndarray:
        """(L,) int64 model ids of a whole utterance.

        Raises:
            ValueError: tokens.txt lacks one.
        """
        row, utterance = int(self._rows[index]), self.ids[index]
        place = self._units.columns
        ark = self._units.archives[place.value("archive", row)]
        labels = read_array(ark, place.value("offset", row), utterance)
        labels = fit_to_audio(labels, self._expected(row), utterance)
        try:
            return self.vocabulary.to_model_ids(labels)
        except ValueError as error:
            raise ValueError(f"{self._units.scp}: {utterance}: {error}") from None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def lengths(self) -> np.ndarray:
        """(U,) samples as they enter a batch."""
        lengths, done = np.empty(len(self), np.min_scalar_type(self.max_samples)), 0
        for start, stop in portions(len(self._utterances)):
            samples = self._utterances.columns.read("samples", start, stop)
            own = self._rows.of(samples, start)
            lengths[done : done + len(own)] = np.minimum(own, self.max_samples)
            done += len(own)
        return lengths

    def batch(
        self, indices: np.ndarray, random: np.random.Generator | None
    ) -> dict[str, torch.Tensor]:
        """waveforms (B, S), sample_lengths (B,), labels (B, L) as model ids padded with PAD.

        Crops start at random places, or at the beginning if `random` is None. Labels are cropped
        with the audio: from round(start x rate / 16000), round(samples x rate / 16000) of them.
        """
        rows = self._rows[indices].tolist()
        samples = np.array([self._utterances.columns.value("samples", row) for row in rows])
        lengths = np.minimum(samples, self.max_samples)
        if not self.pad_audio:
            lengths = np.full_like(lengths, lengths.min())
        spare = samples - lengths
        starts = np.zeros_like(spare) if random is None else random.integers(0, spare + 1)
        waveforms = empty_to_share(len(indices), int(lengths.max()))
        labels = []
        for row, (i, start, n) in enumerate(zip(indices, starts, lengths, strict=True)):
            waveforms[row, :n] = torch.from_numpy(self._waveform(i, int(start), int(n)))
            waveforms[row, n:] = 0.0
            first = round(start * self.label_rate / SAMPLE_RATE)
            count = round(n * self.label_rate / SAMPLE_RATE)
            labels.append(self._labels(i)[first : first + count])
        if not self.pad_audio:
            shortest = min(len(row) for row in labels)
            labels = [row[:shortest] for row in labels]
        return {
            "waveforms": waveforms,
            "sample_lengths": torch.from_numpy(lengths),
            "labels": pad(labels),
        }

    def _waveform(self, index: int, start: int, n: int) -> np.ndarray:
        audio = self._utterances.audio(int(self._rows[index]))
        if not self.normalize:
            return audio.part(start, n).read()
        whole = audio.read()
        scaled = (whole - whole.mean()) / np.sqrt(whole.var() + 1e-5)
        return scaled[start : start + n].astype(np.float32)
