"""A CTC model that reads recordings of any length and format: `speechlm.CTC`.

S samples (16 kHz), T frames, V characters. Greedy decoding needs no ESPnet and no Kaldi packages.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from torch import Tensor

from speechlm.checkpoints.ctc_encoder import CTCModel
from speechlm.checkpoints.load_ctc import load_model
from speechlm.conventions import SAMPLE_RATE, Framing
from speechlm.data.audio_parts import AudioError
from speechlm.data.audio_stream import stream_mono
from speechlm.data.kaldi_dir import read_table
from speechlm.data.whole_files import reading
from speechlm.decode.long_audio import CutOptions, WindowOptions, cut_at_pauses, emission_stream
from speechlm.decode.transcript import Segment, Transcript, Word
from speechlm.decode.word_times import Spoken, greedy_words, likely_words

if TYPE_CHECKING:
    from speechlm.decode.decode_set import WithModel

Audio = str | os.PathLike[str] | np.ndarray | Tensor
NBEST = 50
"""Sentences of a segment from which confidences are taken."""
TUNED = Path("tune_ngram", "weights.json")
"""Where the tuning of a model leaves its weights, in the model's folder."""
TRAINED_ON = "utt2num_samples.train"
"""The lengths of the utterances of a fine-tuning, in the model's folder."""
_BLOCK = 10 * SAMPLE_RATE  # samples of a waveform given at a time
_PAUSE, _LONGEST = 0.5, 30.0  # seconds: where segments end, and where they have to


class TooShort(AudioError):
    """A recording is shorter than a frame of the model."""

    kind = "too short"

    @classmethod
    def check(cls, name: str, samples: int, framing: Framing) -> None:
        """Make sure that a recording has a frame.

        Raises:
            TooShort: it has none.
        """
        if not framing.frames(samples):
            raise cls(name, f"{samples} samples, one frame has {framing.window}")


class CTC(CTCModel):
    """A CTC model of a folder."""

    folder: Path
    """Where it is from."""

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], weights: str | None = None, device: str = "cpu"
    ) -> Self:
        """Open a fine-tuning's or an imported fine-tuning's folder, in evaluation mode.

        Args:
            folder: of the model.
            weights: file name in the folder; None: the best in validation.
            device: where to put the model.

        Raises:
            ValueError: the folder holds no finished CTC fine-tuning of a SpeechLM.
        """
        model = load_model(folder, weights, device, cls)
        model.folder = Path(folder)
        return model

    def transcribe(
        self,
        audio: Sequence[Audio],
        lm: str | os.PathLike[str] | WithModel | None = None,
        window: WindowOptions | None = None,
        batch_samples: int = 1_600_000,
    ) -> list[Transcript]:
        """What is said in each of the recordings.

        Args:
            audio: files of any format, rate and length, and waveforms (S,), float in -1..1 at
                16 kHz.
            lm: folder of a decoding graph (make_ctc_graph), searched with the weights that were
                tuned for this model if it has some, else the paper's; or a search with weights of
                your own. None: the best character of each frame.
            window: what of a long recording the network sees at once; None: `trained_windows`.
            batch_samples: padded samples of a batch of such windows.

        Raises:
            AudioError: a recording is missing, damaged, empty, digital silence or shorter than a
                frame (a ValueError; it says which one).
            ValueError: something else than a list of recordings, or a graph that cannot be used.
        """
        named = named_blocks(audio)
        if isinstance(lm, str | os.PathLike):
            lm = open_graph(lm, self.folder)
        options = window or trained_windows(self.folder)
        return [
            transcribe_blocks(self, name, blocks, lm, options, batch_samples)
            for name, blocks in named
        ]


def open_graph(graph: str | os.PathLike[str], model: Path) -> WithModel:
    """A decoding graph with the weights tuned for a model, or else the paper's.

    Raises:
        ValueError: a file is missing or damaged.
    """
    from speechlm.decode.ctc_search import CTCSearch, Weights
    from speechlm.decode.decode_set import WithModel
    from speechlm.decode.search_settings import Tuned
    from speechlm.lm.search import Beam

    path = tuned_weights(model, "graph")
    tuned = Tuned.read(path) if path else Tuned(Weights(), "graph")
    return WithModel(CTCSearch(graph, tuned.width(Beam)), tuned.weights, NBEST)


def tuned_weights(model: Path, search: str) -> Path | None:
    """The file of the weights that were tuned for a model and a search (graph or flashlight).

    Returns:
        None, with a warning: there is none.

    Raises:
        ValueError: the file is damaged.
    """
    from speechlm.decode.search_settings import Tuned

    path, wrong = model / TUNED, "is not there"
    if path.is_file():
        found = Tuned.read(path).search
        if found == search:
            return path
        wrong = f"was tuned with --search {found}, and this is {search}"
    logging.warning("%s %s: the paper's weights are used; tune_ctc finds others", path, wrong)
    return None


def trained_windows(model: Path) -> WindowOptions:
    """Windows as long as the utterances that a model was fine-tuned on, where its folder says so.

    Their median is the usual length, their maximum the longest, within the limits of the defaults:
    a model is not good at what is much longer than what it has seen.
    """
    path = model / TRAINED_ON
    if not path.is_file():
        return WindowOptions()
    with reading(path, "lengths of utterances", "remove it or train again"):
        samples = [int(n) for n in read_table(path).values()]
        usual, longest = float(np.median(samples)) / SAMPLE_RATE, max(samples) / SAMPLE_RATE
    default = WindowOptions()
    longest = min(max(longest, 2.0), default.longest)
    return WindowOptions(longest, min(usual, default.usual, longest))


def transcribe_blocks(
    model: CTCModel,
    name: str,
    blocks: Iterable[np.ndarray],
    lm: WithModel | None,
    window: WindowOptions,
    batch_samples: int,
) -> Transcript:
    """What is said in a recording that is read block by block.

    Args:
        model: in evaluation mode.
        name: of the recording, for errors.
        blocks: (S,) float32 at 16 kHz.
        lm: a search with its weights; None: greedily.
        window: what the network sees at once.
        batch_samples: padded samples of a batch of windows.

    Raises:
        AudioError: the recording cannot be read to its end, or is shorter than a frame.
        ValueError: values that are not finite.
    """
    counted = _Counted(blocks)
    framing = model.framing
    cuts = CutOptions(round(_PAUSE * framing.rate), round(_LONGEST * framing.rate))
    segments, position = [], 0
    stream = emission_stream(model, counted, window, batch_samples)
    for emissions in cut_at_pauses(stream, cuts):
        found, complete = _search(emissions, lm)
        words = tuple(_timed(word, position, framing.seconds) for word in found)
        if words:
            segments.append(Segment(words, complete))
        position += len(emissions)
    TooShort.check(name, counted.samples, framing)
    return Transcript(counted.samples / SAMPLE_RATE, tuple(segments))


def _search(emissions: np.ndarray, lm: WithModel | None) -> tuple[list[Spoken], bool]:
    """Words of a segment, and whether the search came to its end."""
    if lm is None:
        return greedy_words(emissions), True
    entries, complete = lm.search.nbest(emissions, lm.weights, lm.nbest)
    return likely_words(entries, lm.weights), complete


def _timed(found: Spoken, position: int, seconds: float) -> Word:
    """A word in seconds; `position` is the first frame of its segment."""
    start, end = ((position + frame) * seconds for frame in found.span)
    return Word(found.word, start, end, found.confidence)


def named_blocks(audio: Sequence[Audio]) -> list[tuple[str, Iterable[np.ndarray]]]:
    """Name and samples (S,), float32 at 16 kHz and block by block, of each of the recordings.

    Args:
        audio: files of any format, rate and length, and waveforms (S,), float in -1..1 at 16 kHz.

    Raises:
        ValueError: it is no list of these.
    """
    if isinstance(audio, str | os.PathLike) or getattr(audio, "ndim", 2) < 2:
        raise ValueError("a list of files and waveforms expected, got a single one")
    return [_blocks(item, n) for n, item in enumerate(audio)]


def _blocks(audio: Any, number: int) -> tuple[str, Iterable[np.ndarray]]:
    """A recording's name and samples."""
    if isinstance(audio, str | os.PathLike):
        return os.fspath(audio), stream_mono(audio)
    name = f"waveform {number}"
    wave = audio.detach().cpu() if isinstance(audio, Tensor) else np.asarray(audio)
    is_float = wave.is_floating_point() if isinstance(wave, Tensor) else wave.dtype.kind == "f"
    if wave.ndim != 1 or not is_float:
        raise ValueError(
            f"{name}: floating-point samples in [-1, 1] of shape (samples,) expected, "
            f"got {wave.dtype} of shape {tuple(wave.shape)}"
        )
    wave = wave.float().numpy() if isinstance(wave, Tensor) else wave.astype(np.float32)
    if not np.isfinite(wave).all():
        raise ValueError(f"{name}: some samples are not finite numbers")
    return name, (wave[start : start + _BLOCK] for start in range(0, len(wave), _BLOCK))


class _Counted:
    """Blocks, and how many samples they have had."""

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self._blocks, self.samples = blocks, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self.samples += len(block)
            yield block
