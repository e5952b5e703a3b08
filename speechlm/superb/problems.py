"""What a head has to learn, and how it is scored: a class for each kind of task.

B batch, T frames, D width, C classes or symbols, N utterances of a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import median_filter
from torch import Tensor, nn

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.ctc_lengths import frames_needed
from speechlm.data.kaldi_dir import show_ids
from speechlm.data.libri2mix import parse_turns
from speechlm.data.task_data import TRAIN, TaskData
from speechlm.decode.ctc_greedy import collapse
from speechlm.superb import heads, metrics
from speechlm.superb.config import Training
from speechlm.superb.metrics import Ratio, Scores
from speechlm.superb.upstream import Description

Outputs = dict[str, np.ndarray]
"""What a head gives for each utterance."""
Settings = dict[str, Any]
"""What is chosen on dev beside the rate."""
BLANK = 0


class Problem(Protocol):
    """A task as the training sees it."""

    metrics: tuple[str, ...]
    """Names; the first chooses rate and head."""
    higher_is_better: bool
    """Of the first."""
    notes: list[str]
    """What was left out or is odd, a sentence each."""

    def build(self, dim: int) -> nn.Module:
        """The head, for layers of width `dim`."""

    def ids(self, group: str) -> list[str]:
        """Utterances of a set, sorted."""

    def loss(self, head: nn.Module, x: Tensor, lengths: Tensor, ids: Sequence[str]) -> Tensor:
        """Of a batch (B, T, D) with valid frames (B,)."""

    def score(
        self, outputs: Outputs, group: str, settings: Settings | None
    ) -> tuple[dict[str, Scores], Settings]:
        """Scores by metric; settings that are None are chosen by them."""


class Classes:
    """A class of each utterance: keywords, intents, speakers, emotions."""

    metrics: tuple[str, ...] = ("accuracy",)
    higher_is_better = True

    def __init__(self, task: TaskData, training: Training) -> None:
        self._task, self._hidden = task, training.hidden
        labels = [task.labels[u] for u in task.members(TRAIN)]
        # An intent is right if action, object and location are: a softmax for each of the three.
        rows = [label.split() for label in labels]
        widths = sorted({len(row) for row in rows})
        if len(widths) != 1 or widths[0] == 0:
            raise ValueError(f"labels of one number of words expected, got {widths}")
        self._classes = [sorted({*column}) for column in zip(*rows, strict=True)]
        if all(len(names) == 1 for names in self._classes):
            raise ValueError(f"two classes or more expected in {TRAIN}, got {labels[0]!r} alone")
        self._number = [{name: i for i, name in enumerate(names)} for names in self._classes]
        self.notes: list[str] = []

    def build(self, dim: int) -> nn.Module:
        """A mean over frames between two linear layers."""
        return heads.MeanPoolLinear(dim, sum(map(len, self._classes)), self._hidden)

    def ids(self, group: str) -> list[str]:
        """Utterances of a set."""
        return self._task.members(group)

    def loss(self, head: nn.Module, x: Tensor, lengths: Tensor, ids: Sequence[str]) -> Tensor:
        """Cross entropy, summed over the parts of a label."""
        parts = head(x, lengths).split([len(c) for c in self._classes], 1)
        wanted = torch.tensor([self._numbers(u) for u in ids], device=x.device)
        return torch.stack([F.cross_entropy(p, wanted[:, i]) for i, p in enumerate(parts)]).sum()

    def score(
        self, outputs: Outputs, group: str, settings: Settings | None
    ) -> tuple[dict[str, Scores], Settings]:
        """Accuracy: all parts of a label must be right."""
        bounds = np.cumsum([len(c) for c in self._classes])[:-1]
        right = []
        for utterance in self.ids(group):
            found = [int(part.argmax()) for part in np.split(outputs[utterance], bounds)]
            right.append(found == self._numbers(utterance))
        return {"accuracy": metrics.accuracy(np.array(right))}, {}

    def _numbers(self, utterance: str) -> list[int]:
        words = self._task.labels[utterance].split()
        return [table.get(w, -1) for table, w in zip(self._number, words, strict=True)]


class Sequences:
    """Symbols in their order, by CTC: phones, characters, characters with marks of slots."""

    def __init__(
        self,
        task: TaskData,
        training: Training,
        description: Description,
        samples: dict[str, int],
        kind: str,
    ) -> None:
        self._task, self._training, self._kind = task, training, kind
        self.metrics: tuple[str, ...] = {"pr": ("PER",), "asr": ("WER",)}.get(kind, ("F1", "CER"))
        self.higher_is_better = kind == "sf"
        spell = {"pr": phones, "asr": spelled, "sf": marked}[kind]
        self._targets = {u: spell(label) for u, label in task.labels.items()}
        symbols = {s for u in task.members(TRAIN) for s in self._targets[u]}
        self._symbols = ["<blank>", *sorted(symbols)]
        self._number = {symbol: i for i, symbol in enumerate(self._symbols)}
        self.notes = self._odd(description, samples, symbols)

    def build(self, dim: int) -> nn.Module:
        """Two linear layers for phones, two LSTM for characters."""
        head = heads.FrameLinear if self._kind == "pr" else heads.Recurrent
        return head(dim, len(self._symbols), self._training.hidden)

    def ids(self, group: str) -> list[str]:
        """Utterances of a set; in training, those that CTC can write and that are not empty."""
        members = self._task.members(group)
        return [u for u in members if u not in self._impossible] if group == TRAIN else members

    def loss(self, head: nn.Module, x: Tensor, lengths: Tensor, ids: Sequence[str]) -> Tensor:
        """CTC, a mean over utterances of the loss of a symbol."""
        logits = head(x, lengths).float().log_softmax(2).transpose(0, 1)  # (T, B, C)
        targets = [[self._number[s] for s in self._targets[u]] for u in ids]
        flat = torch.tensor([n for target in targets for n in target], device=x.device)
        sizes = torch.tensor([len(target) for target in targets], device=x.device)
        return F.ctc_loss(logits, flat, lengths, sizes, BLANK)

    def score(
        self, outputs: Outputs, group: str, settings: Settings | None
    ) -> tuple[dict[str, Scores], Settings]:
        """Of the best symbol of each frame."""
        ids = self.ids(group)
        found = {u: [self._symbols[n] for n in collapse(outputs[u].argmax(1), BLANK)] for u in ids}
        if self._kind == "sf":
            pairs = [(slots_of(self._targets[u]), slots_of(found[u])) for u in ids]
            return {"F1": metrics.slot_f1(pairs), "CER": metrics.slot_cer(pairs)}, {}
        if self._kind == "pr":
            return {"PER": metrics.error_rate([(self._targets[u], found[u]) for u in ids])}, {}
        words = [(self._task.labels[u].split(), "".join(found[u]).split()) for u in ids]
        return {"WER": metrics.error_rate(words)}, {}

    def _odd(self, description: Description, samples: dict[str, int], known: set[str]) -> list[str]:
        """Sentences on what training cannot use, and on symbols that it lacks."""
        impossible, foreign = [], []
        for utterance, target in self._targets.items():
            if self._task.sets[utterance] != TRAIN:
                if {*target} - known:
                    foreign.append(utterance)
                continue
            frames = description.framing.frames(samples[utterance])
            if not target or frames_needed(np.array(target)) > frames:
                impossible.append(utterance)
        self._impossible = {*impossible}
        notes = []
        if impossible:
            notes.append(
                f"{len(impossible)} utterances are not trained on, as they have no symbol or more "
                f"than their frames can hold: {show_ids(impossible)}"
            )
        if foreign:
            notes.append(
                f"{len(foreign)} utterances of dev and test have symbols that train lacks, which "
                f"count as errors: {show_ids(foreign)}"
            )
        return notes


class Speakers:
    """Whether two utterances are of one speaker, known from none of those trained on."""

    metrics: tuple[str, ...] = ("EER",)
    higher_is_better = False

    def __init__(
        self, task: TaskData, training: Training, description: Description, samples: dict[str, int]
    ) -> None:
        self._task, self._training = task, training
        names = sorted({task.labels[u] for u in task.members(TRAIN)})
        if len(names) == 1:
            raise ValueError(f"two speakers or more expected in {TRAIN}, got {names[0]!r} alone")
        self._number = {name: i for i, name in enumerate(names)}
        frames = description.framing.frames
        short = sorted(u for u in task.sets if frames(samples[u]) < heads.CONTEXT)
        used = {u for t in task.trials for u in (t.first, t.second)}
        if lost := [u for u in short if u in used]:
            raise ValueError(
                f"utterances of trials need {heads.CONTEXT} frames of {description.kind}; "
                f"{len(lost)} have less: {show_ids(lost)}; leave them out for all models "
                "(./run.sh --min_seconds)"
            )
        self._short = {*short}
        self.notes = []
        if short:
            self.notes.append(
                f"{len(short)} utterances are not trained on, with less than {heads.CONTEXT} "
                f"frames: {show_ids(short)}"
            )

    def build(self, dim: int) -> nn.Module:
        """An x-vector with the loss's centres, which are trained with it."""
        head = heads.XVector(dim, self._training.hidden, self._training.pooled)
        head.add_module("margin", heads.AdditiveMargin(self._training.hidden, len(self._number)))
        return head

    def ids(self, group: str) -> list[str]:
        """Utterances to train on, or those of a set's trials."""
        if group == TRAIN:
            return [u for u in self._task.members(TRAIN) if u not in self._short]
        trials = self._task.trials_of(group)
        return sorted({u for t in trials for u in (t.first, t.second)})

    def loss(self, head: nn.Module, x: Tensor, lengths: Tensor, ids: Sequence[str]) -> Tensor:
        """Softmax with a margin over the speakers of training."""
        wanted = [self._number[self._task.labels[u]] for u in ids]
        margin: Any = head.margin
        return margin(head(x, lengths), torch.tensor(wanted, device=x.device))

    def score(
        self, outputs: Outputs, group: str, settings: Settings | None
    ) -> tuple[dict[str, Scores], Settings]:
        """Equal error rate of cosines."""
        trials = self._task.trials_of(group)
        unit = {u: e / max(float(np.linalg.norm(e)), 1e-9) for u, e in outputs.items()}
        cosines = np.array([float(unit[t.first] @ unit[t.second]) for t in trials])
        return {"EER": metrics.EqualError(cosines, np.array([t.same for t in trials]))}, {}


class Diarization:
    """Who of two speakers speaks when."""

    metrics: tuple[str, ...] = ("DER",)
    higher_is_better = False
    CELL = SAMPLE_RATE // 100
    """Samples of a cell in which errors are counted: 10 ms, whatever the frames are."""
    CHOICES = tuple((t, m) for t in (0.3, 0.4, 0.5, 0.6, 0.7) for m in (1, 11))
    """Thresholds and widths of the median filter (frames), chosen on dev."""

    def __init__(
        self, task: TaskData, training: Training, description: Description, samples: dict[str, int]
    ) -> None:
        self._task, self._training = task, training
        self._framing, self._samples = description.framing, samples
        self.notes: list[str] = []

    def build(self, dim: int) -> nn.Module:
        """An LSTM."""
        return heads.Diarizer(dim, self._training.hidden)

    def ids(self, group: str) -> list[str]:
        """Recordings of a set."""
        return self._task.members(group)

    def loss(self, head: nn.Module, x: Tensor, lengths: Tensor, ids: Sequence[str]) -> Tensor:
        """Cross entropy, the speakers in the better order."""
        frames = self._framing
        activity = torch.zeros(len(ids), x.shape[1], heads.SPEAKERS)
        for row, utterance in enumerate(ids):
            # A frame is labelled by what is said in its middle.
            middles = np.arange(int(lengths[row])) * frames.shift + frames.window // 2
            activity[row, : len(middles)] = torch.from_numpy(self._active(utterance, middles))
        return heads.permutation_free(head(x, lengths), activity.to(x.device), lengths)

    def score(
        self, outputs: Outputs, group: str, settings: Settings | None
    ) -> tuple[dict[str, Scores], Settings]:
        """Diarization error rate without a collar."""
        if settings is None:
            tried = {c: self._errors(outputs, group, *c) for c in self.CHOICES}
            best = min(tried, key=lambda choice: metrics.value(tried[choice]))
            return {"DER": tried[best]}, {"threshold": best[0], "median": best[1]}
        found = self._errors(outputs, group, settings["threshold"], settings["median"])
        return {"DER": found}, settings

    def _errors(self, outputs: Outputs, group: str, threshold: float, median: int) -> Ratio:
        counts = []
        for utterance in self.ids(group):
            logits = outputs[utterance]
            speaking = 1 / (1 + np.exp(-logits)) > threshold  # (T, 2)
            speaking = median_filter(speaking.astype(np.uint8), (median, 1), mode="nearest") > 0
            cells = (np.arange(self._samples[utterance] // self.CELL) + 0.5) * self.CELL
            # The frame whose middle is next to that of the cell.
            nearest = (cells - self._framing.window / 2) / self._framing.shift
            index = np.clip(np.rint(nearest).astype(int), 0, len(logits) - 1)
            truth = self._active(utterance, cells)
            counts.append(metrics.diarization_errors(truth > 0, speaking[index]))
        errors, totals = np.array(counts).T
        return Ratio(errors, totals)

    def _active(self, utterance: str, places: np.ndarray) -> np.ndarray:
        """(places, 2) float32: 1 where a speaker speaks; places are samples."""
        turns = parse_turns(self._task.labels[utterance])
        names = sorted({who for who, _, _ in turns})
        active = np.zeros((len(places), heads.SPEAKERS), np.float32)
        seconds = places / SAMPLE_RATE
        for who, start, end in turns:
            active[(seconds >= start) & (seconds < end), names.index(who)] = 1
        return active


def problem_of(
    kind: str, task: TaskData, training: Training, description: Description, samples: dict[str, int]
) -> Problem:
    """The problem of a task, for layers of some upstream.

    Args:
        kind: name of the task.
        task: its data, or one fold of it.
        training: how its heads are trained.
        description: of the layers.
        samples: length of each utterance.
    """
    if kind in ("pr", "asr", "sf"):
        return Sequences(task, training, description, samples, kind)
    if kind == "asv":
        return Speakers(task, training, description, samples)
    if kind == "sd":
        return Diarization(task, training, description, samples)
    return Classes(task, training)


def phones(label: str) -> list[str]:
    """Phones between blanks."""
    return label.split()


def spelled(label: str) -> list[str]:
    """Words -> characters, a blank between words."""
    return list(label)


def marked(label: str) -> list[str]:
    """`WORD|SLOT ...` -> characters with a mark before the first and behind the last of a slot."""
    symbols: list[str] = []
    pairs = [pair.rsplit("|", 1) for pair in label.split()]
    for i, (word, slot) in enumerate(pairs):
        before = pairs[i - 1][1] if i else "O"
        after = pairs[i + 1][1] if i + 1 < len(pairs) else "O"
        if i:
            symbols.append(" ")
        if slot not in ("O", before):
            symbols.append(f"B-{slot}")
        symbols += word
        if slot not in ("O", after):
            symbols.append(f"E-{slot}")
    return symbols


def slots_of(symbols: Iterable[str]) -> dict[str, list[str]]:
    """{slot: values} of what stands between a mark and the next one that ends the same slot."""
    found: dict[str, list[str]] = {}
    name, text = "", ""
    for symbol in symbols:
        if symbol.startswith("B-") and len(symbol) > 2:
            name, text = symbol[2:], ""
        elif symbol.startswith("E-") and len(symbol) > 2:
            if name == symbol[2:]:
                found.setdefault(name, []).append(text)
            name = ""
        else:
            text += symbol
    return found
