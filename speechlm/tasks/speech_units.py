"""Speech of pre-training: utterances of a data directory with their unit labels.

B utterances, S samples (16 kHz), L labels.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.archives import ArchiveReader, fit_to_audio, n_labels, read_unit_info
from speechlm.data.kaldi_dir import DataDir, read_table, show_ids
from speechlm.data.report import Report
from speechlm.data.segments import AudioRange
from speechlm.tasks.left_out import list_left_out
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
        data = DataDir.read(folder)
        shift, self.vocabulary = read_unit_info(folder / units)
        if round(1 / shift) != label_rate:
            raise ValueError(
                f"{folder / units / 'frame_shift'}: {1 / shift:g} labels a second, but the model's "
                f"label_rate is {label_rate}"
            )
        self._archive = ArchiveReader(folder / units / "units.scp")
        samples = data.samples()
        left_out, self.ids = Report(), []
        for u in data.ids:
            if u not in self._archive:
                left_out.leave_out("no units", u, folder / units, f"not in {units}")
            elif samples[u] < min_samples:
                detail = f"{samples[u]} samples, fewer than {min_samples}"
                left_out.filter("too short", u, data.wav[u], detail)
            else:
                self.ids.append(u)
        list_left_out(left_out, len(self.ids), folder, report)
        left_out.check_share(len(self.ids), 1.0, str(folder))
        self._paths = [data.wav[u] for u in self.ids]
        self._starts = np.array([data.audio(u).start for u in self.ids], np.int64)
        self.n_samples = np.array([samples[u] for u in self.ids], np.int64)
        self._expected = [n_labels(int(n), shift) for n in self.n_samples]
        self._check_counts(folder / units / "units.scp")
        for index in np.unique(np.linspace(0, len(self) - 1, _LOOKED_AT).astype(np.int64)):
            self._labels(index)

    def _check_counts(self, scp: Path) -> None:
        counts = _label_counts(scp, self.ids)
        wrong = [
            f"{u} ({counts[i]} labels, {self._expected[i]} expected of {self.n_samples[i]} samples)"
            for i, u in enumerate(self.ids)
            if abs(counts[i] - self._expected[i]) > 1
        ]
        if wrong:
            raise ValueError(
                f"{scp}: the number of labels does not fit the audio of {len(wrong)} utterances; "
                f"make the units again: {show_ids(wrong)}"
            )

    def _labels(self, index: int) -> np.ndarray:
        """(L,) int64 model ids of a whole utterance.

        Raises:
            ValueError: tokens.txt lacks one.
        """
        utterance, expected = self.ids[index], self._expected[index]
        labels = fit_to_audio(self._archive[utterance], expected, utterance)
        try:
            return self.vocabulary.to_model_ids(labels)
        except ValueError as error:
            raise ValueError(f"{self._archive.scp}: {utterance}: {error}") from None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        """(U,) samples as they enter a batch."""
        return np.minimum(self.n_samples, self.max_samples)

    def batch(
        self, indices: np.ndarray, random: np.random.Generator | None
    ) -> dict[str, torch.Tensor]:
        """waveforms (B, S), sample_lengths (B,), labels (B, L) as model ids padded with PAD.

        Crops start at random places, or at the beginning if `random` is None. Labels are cropped
        with the audio: from round(start x rate / 16000), round(samples x rate / 16000) of them.
        """
        lengths = self.lengths[indices]
        if not self.pad_audio:
            lengths = np.full_like(lengths, lengths.min())
        spare = self.n_samples[indices] - lengths
        starts = np.zeros_like(spare) if random is None else random.integers(0, spare + 1)
        waveforms = torch.zeros(len(indices), int(lengths.max()))
        labels = []
        for row, (i, start, n) in enumerate(zip(indices, starts, lengths, strict=True)):
            waveforms[row, :n] = torch.from_numpy(self._waveform(i, int(start), int(n)))
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
        audio = AudioRange(self._paths[index]).part(
            int(self._starts[index]), int(self.n_samples[index])
        )
        if not self.normalize:
            return audio.part(start, n).read()
        whole = audio.read()
        scaled = (whole - whole.mean()) / np.sqrt(whole.var() + 1e-5)
        return scaled[start : start + n].astype(np.float32)


def _label_counts(scp: Path, ids: Sequence[str]) -> np.ndarray:
    """Lengths of int32 vectors, read from their headers only: int64 (ids,)."""
    entries = read_table(scp)
    places: dict[str, list[tuple[int, int]]] = {}
    for i, utterance in enumerate(ids):
        path, _, place = entries[utterance].rpartition(":")
        places.setdefault(path, []).append((int(place), i))
    counts = np.zeros(len(ids), np.int64)
    for path, wanted in places.items():
        ark = Path(path) if Path(path).is_file() else scp.parent / Path(path).name
        with ark.open("rb") as stream:
            for offset, i in sorted(wanted):
                stream.seek(offset)
                header = stream.read(7)  # "\0B", 4 (size of an integer), count
                if len(header) != 7 or header[:3] != b"\0B\4":
                    raise ValueError(f"{ark}: no vector of labels at byte {offset} for {ids[i]}")
                counts[i] = struct.unpack("<i", header[3:])[0]
    return counts
