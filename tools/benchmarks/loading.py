"""Speed of a core that makes batches of pre-training: audio, units, text, handing them over."""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import soundfile
import torch

from benchmarks.measure import peak_rss
from benchmarks.texts import write_made_up_text
from speechlm.conventions import SAMPLE_RATE

GOAL_UPDATES, GOAL_SECONDS, GOAL_HOURS = 400_000, 2800, 64
"""The paper's pre-training, seconds of speech of its updates, and GPU hours that it may take."""
GOAL = GOAL_UPDATES * GOAL_SECONDS / (GOAL_HOURS * 3600)
"""Seconds of audio that a GPU then takes a second."""
FORMANTS = ((500, 80), (1500, 120), (2500, 160))
"""Frequencies and widths, in Hz, of what made-up speech resounds with."""


class Stopwatch:
    """CPU seconds of this thread inside the parts that make a batch.

    Attributes: `seconds`, by name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, epochs: Any) -> Iterator[None]:
        """A block in which the parts of these epochs are measured."""
        parts = (
            (epochs.speech, "_waveform", "audio"),
            (epochs.speech, "_labels", "units"),
            (epochs.text, "batch", "text"),
        )
        for thing, function, name in parts:
            setattr(thing, function, self._measured(getattr(thing, function), name))
        try:
            yield
        finally:
            for thing, function, _ in parts:
                delattr(thing, function)  # the class has the function itself

    def _measured(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        self.seconds[name] = 0.0

        @wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += time.thread_time() - start

        return measured


def data(args: argparse.Namespace) -> dict[str, float]:
    """Audio seconds that a core's loader gives a CPU second, by part, of FLAC and of WAV."""
    figures: dict[str, float] = {"goal": round(GOAL)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sounds = list(recordings(args))
        for container in ("flac", "wav"):
            make_speech(folder / container, container, sounds, args.seed)
        text, lexicon = write_made_up_text(folder, args.lines, args.seed)
        figures["recorded_seconds"] = round(sum(map(len, sounds)) / SAMPLE_RATE, 1)
        for container in ("flac", "wav"):
            epochs = make_epochs(folder / container, text, lexicon, args)
            figures |= {f"{container}_{key}": rate for key, rate in rates(epochs, args).items()}
            rate = figures[f"{container}_audio_seconds_per_cpu_second"]
            figures[f"{container}_cores_a_gpu"] = round(GOAL / rate, 2)
    return {**figures, "peak_gib": round(peak_rss(), 3)}


def recordings(args: argparse.Namespace) -> Iterator[np.ndarray]:
    """Some waveforms, (S,) int16 at 16 kHz: those of a folder, or made-up ones.

    Raises:
        ValueError: the folder has none.
    """
    if args.recordings is None:
        random = np.random.default_rng(args.seed)
        for _ in range(args.utterances):
            yield made_up_sound(random, args.seconds)
        return
    paths = sorted(Path(args.recordings).rglob("*.flac"))[: args.utterances]
    if not paths:
        raise ValueError(
            f"--recordings {args.recordings}: 16 kHz FLAC files expected, there are none"
        )
    for path in paths:
        sound, rate = soundfile.read(path, dtype="int16")
        if rate != SAMPLE_RATE or sound.ndim > 1:
            raise ValueError(f"{path}: one channel of {SAMPLE_RATE} Hz expected")
        yield sound


def made_up_sound(random: np.random.Generator, seconds: float) -> np.ndarray:
    """Noise with formants and pauses, (S,) int16, which FLAC packs about as it packs speech."""
    n = int(seconds * SAMPLE_RATE)
    sound = random.standard_normal(n)
    for frequency, width in FORMANTS:
        radius = np.exp(-np.pi * width / SAMPLE_RATE)
        angle = 2 * np.pi * frequency / SAMPLE_RATE
        sound = scipy.signal.lfilter(
            [1 - radius], [1, -2 * radius * np.cos(angle), radius**2], sound
        )
    # a syllable each fifth of a second, some of them silent
    ends = np.append(0, random.uniform(0, 1, int(5 * seconds) + 1) ** 3)
    loudness = np.interp(np.arange(n) / SAMPLE_RATE * 5, np.arange(len(ends)), ends)
    sound *= loudness / np.abs(sound * loudness).max()
    return np.rint(12_000 * sound + random.standard_normal(n) * 3).astype(np.int16)


def make_speech(folder: Path, container: str, sounds: list[np.ndarray], seed: int) -> None:
    """A data directory of these waveforms, with units drawn at random, 100 a second."""
    from speechlm.data.archives import ArchiveWriter, merge_archives, n_labels, write_unit_info
    from speechlm.data.kaldi_dir import DataDir
    from speechlm.data.vocabulary import PHONES

    folder.mkdir()
    random = np.random.default_rng(seed)
    wav, n_samples = {}, {}
    with ArchiveWriter(folder / "units_phone") as writer:
        for number, sound in enumerate(sounds):
            name, path = f"s-{number:05d}", folder / f"{number:05d}.{container}"
            soundfile.write(path, sound, SAMPLE_RATE, subtype="PCM_16")
            wav[name], n_samples[name] = str(path), len(sound)
            writer.write(name, random.integers(0, len(PHONES), n_labels(len(sound))))
    merge_archives(folder / "units_phone", 1)
    write_unit_info(folder / "units_phone", 0.01, PHONES)
    DataDir(wav, dict.fromkeys(wav, "s"), n_samples=n_samples).write(folder)


def make_epochs(folder: Path, text: Path, lexicon: Any, args: argparse.Namespace) -> Any:
    """What gives a training its batches."""
    from speechlm.tasks.joint import JointEpochs
    from speechlm.tasks.speech_units import SpeechUnits
    from speechlm.tasks.text_units import TextUnits
    from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer

    speech = SpeechUnits(folder, "units_phone", 100, min_samples=SAMPLE_RATE // 2)
    lines = TextUnits(text, PhonemeTextTokenizer(lexicon, args.seed))
    sizes = {"batch_samples": args.batch_samples, "batch_units": args.batch_units}
    return JointEpochs(
        speech, lines, **sizes, seed=args.seed, steps=args.batches, at_once=args.batches_at_once
    )


def rates(epochs: Any, args: argparse.Namespace) -> dict[str, float]:
    """Audio seconds a CPU second of each part alone, of making batches, and of the whole loader.

    Counting a block of text, which each of a training's loader processes does once in some hundred
    batches, is in "text" by the share of these batches.
    """
    found: dict[str, list[float]] = {}
    for repeat in range(args.repeats + 1):
        epoch = epochs.epoch(repeat + 1)
        start = time.thread_time()
        epochs.lines._deal(repeat)
        block = (time.thread_time() - start) / epochs.lines.block_batches
        block *= args.batches * args.num_workers
        _ = epoch[0]  # its block is counted now

        watch, audio = Stopwatch(), 0.0
        with watch.of(epochs):
            start = time.thread_time()
            for batch in range(args.batches):
                audio += epoch[batch][1]["sample_lengths"].sum().item() / SAMPLE_RATE
            made = time.thread_time() - start
        seconds = {**watch.seconds, "rest": made - sum(watch.seconds.values())}
        # the same batches again, made in a process of their own
        whole = loader_seconds(epochs, repeat + 1)
        seconds |= {"handing_over": whole - made, "audio_seconds_per_cpu_second": whole + block}
        seconds["text"] += block
        for name, spent in seconds.items():
            found.setdefault(name, []).append(spent / audio)
    # the first time warms up
    medians = {name: float(np.median(values[1:])) for name, values in found.items()}
    return {name: round(1 / max(seconds, 1e-6)) for name, seconds in medians.items()}


def loader_seconds(epochs: Any, number: int) -> float:
    """CPU seconds of a loader's process and of this one while the batches of an epoch are taken."""
    from speechlm.tasks.epochs import EpochIterFactory

    class Epoch:
        """The first batches of the epoch."""

        def __init__(self, count: int) -> None:
            self.count = count

        def epoch(self, _: int) -> torch.utils.data.Subset:
            return torch.utils.data.Subset(epochs.epoch(number), range(self.count))

    def spent(count: int) -> float:
        before = cpu_seconds()
        for _ in EpochIterFactory(Epoch(count), 1, False, on_host=True).build_iter(1):
            pass
        return cpu_seconds() - before

    # a loader of one batch costs what it takes to begin and to end
    whole, one = spent(epochs.steps), spent(1)
    return (whole - one) * epochs.steps / max(1, epochs.steps - 1)


def cpu_seconds() -> float:
    """CPU seconds so far of this process and of those of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
