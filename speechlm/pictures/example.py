"""An utterance to look at: its samples, words, phones and units, and a model's view of it.

S samples (16 kHz), T frames of the model, V units.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from speechlm.conventions import SAMPLE_RATE, WINDOW, Framing
from speechlm.data.archives import ArchiveReader, fit_to_audio, n_labels, read_unit_info
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.pictures.samples import SomeArrays
from speechlm.score.alignment import fold

if TYPE_CHECKING:
    from speechlm.checkpoints.pretrained import SpeechLM

SECONDS = 2.6
"""The utterance whose length is nearest to this is taken: its phones have room in a picture."""


class Span(NamedTuple):
    """What lasts from one time to another."""

    start: float
    """Seconds."""
    end: float
    label: str


@dataclass(frozen=True)
class Example:
    """An utterance with its alignment and, if there are, its units."""

    utterance: str
    waveform: np.ndarray
    """(S,) in -1..1."""
    words: list[Span]
    """Empty if the alignment has not as many words as the transcript."""
    phones: list[Span]
    """Without stress and position."""
    labels: np.ndarray
    """Units at their own rate, model labels."""
    vocabulary: UnitVocabulary
    """Of the units."""
    rate: int
    """Units a second."""


@dataclass(frozen=True)
class Predictions:
    """What a model says of the masked frames."""

    masked: np.ndarray
    """(T,) bool."""
    targets: list[str]
    """(T,) the unit of each frame."""
    middle: list[str]
    """(T,) the best unit of each masked frame, of the others empty."""
    top: list[str]
    """(T,) likewise."""
    framing: Framing

    def spans(self, labels: Sequence[str]) -> list[Span]:
        """Runs of equal labels, each frame around the middle of what it sees."""
        shift = self.framing.shift / SAMPLE_RATE
        first = (self.framing.window / 2 / SAMPLE_RATE) - shift / 2
        return spans_of(labels, shift, first)

    def accuracy(self, labels: Sequence[str]) -> float:
        """Share of the masked frames whose unit is right, in percent."""
        right = [a == b for a, b, m in zip(labels, self.targets, self.masked, strict=True) if m]
        return 100.0 * sum(right) / max(1, len(right))


def spans_of(labels: Sequence[str], shift: float, first: float) -> list[Span]:
    """Runs of equal labels that are not empty.

    Args:
        labels: one a frame.
        shift: seconds from one to the next.
        first: seconds where the first begins.
    """
    spans: list[Span] = []
    start = 0
    for n in range(1, len(labels) + 1):
        if n == len(labels) or labels[n] != labels[start]:
            if labels[start]:
                spans.append(Span(first + start * shift, first + n * shift, labels[start]))
            start = n
    return spans


def read_example(
    data_dir: str | os.PathLike[str],
    alignments: str | os.PathLike[str],
    units: str | os.PathLike[str],
    utterance: str | None = None,
) -> Example:
    """The utterance whose length is nearest to `SECONDS`, of those that all three have.

    Args:
        data_dir: data directory with text.
        alignments: folder with units.scp of phones.
        units: folder with units.scp of the units that a model was trained with.
        utterance: this one instead.

    Raises:
        ValueError: none is in all three, or lengths disagree.
    """
    data, aligned = DataDir.read(data_dir), ArchiveReader(Path(alignments) / "units.scp")
    samples = data.samples()
    there = {u for u in samples if u in aligned and utterance in (None, u)}
    reader = SomeArrays(units, len(samples), there)
    chosen = min(reader, key=lambda u: (abs(samples[u] / SAMPLE_RATE - SECONDS), u))
    shift, vocabulary = read_unit_info(units)
    labels = fit_to_audio(reader[chosen], n_labels(samples[chosen], shift), f"{units}: {chosen}")
    phone_shift, phones = read_unit_info(alignments)
    names = [phones.symbols[label] for label in aligned[chosen]]
    runs = spans_of(names, phone_shift, WINDOW / 2 / SAMPLE_RATE - phone_shift / 2)
    text = data.text[chosen].split() if data.text else []
    spoken = [Span(run.start, run.end, shown(run.label)) for run in runs]
    words, rate = words_of(runs, text), round(1 / shift)
    return Example(chosen, data.waveform(chosen), words, spoken, labels, vocabulary, rate)


def shown(symbol: str) -> str:
    """A phone without stress and position; a hidden unit as it is."""
    return symbol if symbol.isdecimal() else fold(symbol)


def words_of(phones: Sequence[Span], text: Sequence[str]) -> list[Span]:
    """Words by the positions of their phones; empty if there are not as many as in the text."""
    words: list[Span] = []
    start = None
    for phone in phones:
        position = phone.label.partition("_")[2]
        if position in ("B", "S"):
            start = phone.start
        if position in ("E", "S") and start is not None:
            words.append(Span(start, phone.end, ""))
            start = None
    if len(words) != len(text):
        return []
    return [Span(w.start, w.end, name) for w, name in zip(words, text, strict=True)]


def predict(model: SpeechLM, example: Example, seed: int) -> Predictions:
    """Mask spans of an utterance as pre-training does, and predict the units of masked frames.

    No frame is swapped for its unit.

    Args:
        model: pre-trained, in evaluation mode.
        example: the utterance.
        seed: of the masks.

    Raises:
        ValueError: the units are none of the model's, or their rate is none of its.
    """
    import torch

    from speechlm.checkpoints.model_dir import read_description
    from speechlm.models.front_end import normalize_waveform
    from speechlm.models.masking import span_mask
    from speechlm.models.outputs import SpeechDraws

    wave = torch.from_numpy(example.waveform)[None]
    config = model.config
    if config.normalize_waveform:
        wave = normalize_waveform(wave, None)
    units, vocabulary = read_description(model.folder).units, example.vocabulary
    if units is None:
        raise ValueError(f"{model.folder} is without unit embeddings; a pre-trained model expected")
    units.check_same(vocabulary)
    labels = torch.from_numpy(vocabulary.to_model_ids(example.labels))[None]
    ratio = model.framing.labels_per_frame(example.rate)
    frames = min(int(model.framing.frames(wave.shape[1])), labels.shape[1] // ratio)
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([frames])
    mask = span_mask(lengths, frames, config.mask_prob, config.mask_length, generator=generator)
    draws = SpeechDraws(mask, torch.zeros_like(mask), 0 if not config.is_fast else None)
    with torch.no_grad():
        found = model.forward_speech(
            wave, torch.tensor([wave.shape[1]]), labels, example.rate, draws
        )
    masked = found.masked[0].numpy()
    best: list[list[str]] = []
    for predicted in (found.middle, found.top):
        names = [""] * len(masked)
        symbols = vocabulary.to_symbols(predicted.logits.argmax(1).tolist())
        for place, symbol in zip(np.flatnonzero(masked), symbols, strict=True):
            names[place] = symbol
        best.append(names)
    targets = vocabulary.to_symbols(found.targets[0].tolist())
    return Predictions(masked, targets, best[0], best[1], model.framing)
