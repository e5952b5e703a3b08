"""Joint batches of speech with unit labels and of text turned into units, for pre-training.

B utterances or lines, S samples (16 kHz), L labels, T text units, U characters.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from speechlm.conventions import PAD, SAMPLE_RATE
from speechlm.data.archives import ArchiveReader, fit_to_audio, n_labels, read_unit_info
from speechlm.data.atomic import output_file
from speechlm.data.kaldi_dir import DataDir, read_table, show_ids
from speechlm.data.segments import AudioRange
from speechlm.data.text_corpus import TextCorpus
from speechlm.data.unit_store import UnitStore
from speechlm.tasks.batching import Lines, SpeechBatches, TextBatches
from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer
from speechlm.tokenizers.stored_text import StoredTextTokenizer
from speechlm.tokenizers.text_batch import Dropped, TextBatch

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
        left_out = {u: "no units" for u in data.ids if u not in self._archive}
        short = [u for u in data.ids if u not in left_out and samples[u] < min_samples]
        left_out |= {u: f"{samples[u]} samples, fewer than {min_samples}" for u in short}
        self.ids = [u for u in data.ids if u not in left_out]
        _report_left_out(folder, left_out, len(self.ids), report)
        if not self.ids:
            raise ValueError(
                f"{folder}: none of {len(left_out)} utterances can be used "
                f"({len(left_out) - len(short)} without units in {folder / units}, "
                f"{len(short)} shorter than {min_samples} samples)"
            )
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


class TextUnits:
    """Lines of a text corpus as unit and character ids."""

    tokenizer: PhonemeTextTokenizer | StoredTextTokenizer

    def __init__(self, path: str | os.PathLike[str], tokenizer: PhonemeTextTokenizer) -> None:
        self.corpus = TextCorpus(path)
        self.tokenizer = tokenizer

    @property
    def path(self) -> Path:
        """The text's file."""
        return self.corpus.path

    def __len__(self) -> int:
        return len(self.corpus)

    def unit_counts(self, lines: np.ndarray, passes: np.ndarray) -> np.ndarray:
        """(n,) units of lines by number in these passes through the text, as in `batch`.

        `</s>` is counted; lines that the tokenizer drops have 0.

        Raises:
            ValueError: a line cannot be tokenized; it is named.
        """
        with self._named_errors():
            return self.tokenizer.unit_counts(self.corpus.lines(lines), lines, passes)

    def batch(self, lines: Lines) -> dict[str, torch.Tensor]:
        """units (B, T) and characters (B, U), each row ended by EOS and padded with PAD.

        Lines that are not used, or that the tokenizer drops, are logged with the reason and counted
        in `lines_left_out`, those among them whose characters CTC cannot write in their units in
        `impossible_lines` as well, words of the others that the lexicon lacks in `unknown_words`,
        () each. If no line remains, only the counts are there.

        Raises:
            ValueError: a line cannot be tokenized; it is named.
        """
        made = self._tokenize(lines, lines.used)
        left_out = made.dropped
        if not lines.used.all():
            rest = self._tokenize(lines, ~lines.used)
            left_out += rest.dropped
            for line, (units, _) in zip(rest.indices, rest, strict=True):
                why = f"{len(units)} units have no room in the batches (batch_units)"
                left_out.append(Dropped(int(line), why))
        self._report(left_out, made.unknown)
        counts = {
            "lines_left_out": torch.tensor(len(left_out)),
            "impossible_lines": torch.tensor(sum(line.impossible for line in left_out)),
            "unknown_words": torch.tensor(made.unknown.total()),
        }
        if not len(made):
            return counts
        return {
            "units": pad([units for units, _ in made]),
            "characters": pad([characters for _, characters in made]),
        } | counts

    def _tokenize(self, lines: Lines, chosen: np.ndarray) -> TextBatch:
        numbers, passes = lines.numbers[chosen], lines.passes[chosen]
        with self._named_errors():
            return self.tokenizer(self.corpus.lines(numbers), numbers, passes)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Errors within the block name the text."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def _report(self, left_out: Sequence[Dropped], unknown: Mapping[str, int]) -> None:
        for line in left_out:
            logging.warning("%s left out: %s", self.name(line.index), line.reason)
        if unknown:
            words = ", ".join(sorted(unknown)[:10])
            logging.warning("%s: words that the lexicon lacks: %s", self.path, words)

    def name(self, line: int) -> str:
        """How a line is called in messages: `file:number`, from 1."""
        return f"{self.path}:{line + 1}"


class StoredTextUnits(TextUnits):
    """Lines of a text corpus with hidden units that were generated before (SpeechLM-H).

    Args:
        path: the text.
        folder: of the store that generate_text_units made of it.
        frame_shift: seconds that a frame of the encoder lasts.

    Raises:
        ValueError: the store is not complete, is of another text, or its units do not last as
            long as the encoder's frames.
    """

    def __init__(
        self, path: str | os.PathLike[str], folder: str | os.PathLike[str], frame_shift: float
    ) -> None:
        self.corpus, self.store = TextCorpus(path), UnitStore(folder)
        self.store.check(self.corpus)
        if abs(self.store.frame_shift - frame_shift) > 1e-6:
            raise ValueError(
                f"{folder} has units of {self.store.frame_shift:g} s, the model's frames last "
                f"{frame_shift:g} s: units of speech at that rate and a text-to-unit model "
                "trained on them are needed"
            )
        self.tokenizer = StoredTextTokenizer(self.store)


class JointEpochs:
    """Makes the batches of any epoch for one worker.

    A batch is (ids, tensors by name). It follows from its step alone: from the number of the
    worker's batches before it, in all epochs.

    Args:
        speech, text: the data; text None: speech only.
        batch_samples: limit of padded samples of a speech batch of one worker.
        batch_units: limit of padded units of a text batch of one worker.
        seed: of orders, crops and text units.
        rank, workers: which worker this is, of how many.
        steps: batches of an epoch at a worker; None: one pass over the speech.
        train: False (validation): every epoch is the first one, in fixed order. Crops start at the
            beginning, and each batch has a `seed` of its own, from which the model draws its masks.

    Raises:
        ValueError: batches of these sizes cannot be made of the data; the file is named.
    """

    def __init__(
        self,
        speech: SpeechUnits,
        text: TextUnits | None,
        batch_samples: int,
        batch_units: int,
        seed: int,
        rank: int = 0,
        workers: int = 1,
        steps: int | None = None,
        train: bool = True,
    ) -> None:
        self.speech, self.text, self.train = speech, text, train
        self.seed, self.rank, self.workers = seed, rank, workers
        try:
            self.batches = SpeechBatches(speech.lengths, batch_samples, seed, workers, train)
        except ValueError as error:
            raise ValueError(f"{speech.folder}: {error}") from None
        self.steps = steps or len(self.batches)
        self.lines: TextBatches | None = None
        if text is not None:
            if train:
                self.lines = TextBatches(text, batch_units, seed, rank, workers)
            else:  # one block for the batches of all workers, which take them by turns
                self.lines = TextBatches(text, batch_units, seed, batches=self.steps * workers)

    def epoch(self, number: int) -> JointBatches:
        """Epoch 1, 2, ..."""
        first = (number - 1) * self.steps if self.train else 0
        steps = range(first, first + self.steps)
        chosen: list[np.ndarray] = []
        while len(chosen) < len(steps):
            # n batches in a pass: step s is batch s mod n of pass s div n
            turn, place = divmod(steps[len(chosen)], len(self.batches))
            chosen += self.batches.worker_pass(turn, self.rank)[place:]
        return JointBatches(self, steps, chosen[: len(steps)])

    def batch(self, step: int, chosen: np.ndarray) -> tuple[list[str], dict[str, torch.Tensor]]:
        """The batch of a step, with the utterances that have the indices `chosen`."""
        random = np.random.default_rng([self.seed, step, self.rank])
        batch = self.speech.batch(chosen, random if self.train else None)
        ids = [self.speech.ids[i] for i in chosen]
        if self.text is not None and self.lines is not None:
            lines = self.lines[step if self.train else step * self.workers + self.rank]
            batch |= self.text.batch(lines)
            ids += [self.text.name(int(line)) for line in lines.numbers[lines.used]]
        if not self.train:
            batch["seed"] = torch.tensor(int(random.integers(2**31)))
        return ids, batch


class JointBatches(Dataset):
    """The batches of one epoch at one worker, each made when it is asked for."""

    def __init__(self, epochs: JointEpochs, steps: range, chosen: Sequence[np.ndarray]) -> None:
        self.epochs, self.steps, self.chosen = epochs, steps, chosen

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> tuple[list[str], dict[str, torch.Tensor]]:
        return self.epochs.batch(self.steps[index], self.chosen[index])


def pad(rows: Sequence[np.ndarray]) -> torch.Tensor:
    """(B, longest) int64, rows right-padded with PAD."""
    padded = torch.full((len(rows), max(len(row) for row in rows)), PAD)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.from_numpy(np.asarray(row, np.int64))
    return padded


def _report_left_out(
    folder: Path, left_out: dict[str, str], used: int, report: Path | None
) -> None:
    if report is not None:
        with output_file(report) as path:
            lines = [f"{utterance} {why}\n" for utterance, why in sorted(left_out.items())]
            path.write_text("".join(lines), encoding="utf-8")
    logging.info("%s: %d utterances used, %d left out", folder, used, len(left_out))
    if left_out:
        first = [f"{u} ({why})" for u, why in sorted(left_out.items())]
        logging.warning("%s: left out: %s", folder, show_ids(first))


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
