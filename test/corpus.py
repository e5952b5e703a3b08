"""A corpus in which every phone is a chord: small, and learnable."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import soundfile

from speechlm.data.archives import ArchiveWriter, merge_archives, n_labels, write_unit_info
from speechlm.data.audio import write_flac
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.segments import Segment
from speechlm.data.vocabulary import PHONES, add_positions, phone_id

LEXICON = {
    "CAT": "K AE1 T",
    "DOG": "D AO1 G",
    "SEES": "S IY1 Z",
    "THE": "DH AH0",
    "BIG": "B IH1 G",
    "RED": "R EH1 D",
    "FISH": "F IH1 SH",
    "RUNS": "R AH1 N Z",
    "FAST": "F AE1 S T",
    "NOW": "N AW1",
}
WORDS = sorted(LEXICON)


def sentence(random: np.random.Generator, n_words: int) -> str:
    return " ".join(random.choice(WORDS, n_words))


def speak(text: str, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Waveform (S,) float32 and its labels, one each 10 ms."""
    symbols = ["SIL"]
    for word in text.split():
        symbols += add_positions(LEXICON[word].split())
    pieces, labels = [], []
    for symbol in [*symbols, "SIL"]:
        n = int(random.integers(6, 11))
        labels += [phone_id[symbol]] * n
        pitch = 150 + 18 * (phone_id[symbol] // 4)
        time = np.arange(n * 160) / 16000
        loud = 0.0 if symbol == "SIL" else 0.2
        pieces.append(
            loud * (np.sin(2 * np.pi * pitch * time) + np.sin(4.1 * np.pi * pitch * time))
        )
    wave = np.concatenate(pieces) + random.normal(0, 0.01, 160 * len(labels))
    return wave.astype(np.float32), np.array(labels, np.int32)


def make_data_dir(
    folder: Path, n: int, seed: int, words: tuple[int, int] = (3, 7), units: bool = True
) -> DataDir:
    """A Kaldi data directory with unit archives in `units_phone`."""
    random = np.random.default_rng(seed)
    wav, text, samples, archive = {}, {}, {}, {}
    (folder / "wav").mkdir(parents=True)
    for i in range(n):
        name = f"spk{i % 3}-{i:04d}"
        text[name] = sentence(random, int(random.integers(*words)))
        wave, labels = speak(text[name], random)
        wav[name] = str(folder / "wav" / f"{name}.flac")
        write_flac(wav[name], wave, 16000)
        samples[name] = len(wave)
        archive[name] = labels[: n_labels(len(wave))]
    data = DataDir(wav, {name: name.split("-")[0] for name in wav}, text, samples)
    data.write(folder)
    if units:
        write_units(folder / "units_phone", archive)
    return data


def write_units(folder: Path, archive: dict[str, np.ndarray]) -> None:
    folder.mkdir(exist_ok=True)
    with ArchiveWriter(folder, "units", 1) as writer:
        for name, labels in sorted(archive.items()):
            writer.write(name, labels)
    merge_archives(folder, 1, "units")
    write_unit_info(folder, 0.01, PHONES)


def make_text(path: Path, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    lines = [sentence(random, int(random.integers(1, 9))) for _ in range(n)]
    path.write_text("".join(f"{line}\n" for line in lines))


def make_corpus(root: Path, n: int = 40, dev: int = 8, lines: int = 200) -> Path:
    """root/{train,dev}, root/text, root/dev_text, root/lexicon."""
    make_data_dir(root / "train", n, 1)
    make_data_dir(root / "dev", dev, 2)
    make_text(root / "text", lines, 3)
    make_text(root / "dev_text", 20, 4)
    (root / "lexicon").write_text("".join(f"{w} {p}\n" for w, p in sorted(LEXICON.items())))
    return root


def join_recordings(source: Path, target: Path) -> DataDir:
    """The same data directory, with its units, whose utterances are parts of a file a speaker."""
    data = DataDir.read(source)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("wav", "wav.scp"))
    pause = np.full(1234, 300, np.int16)
    segments, wav = {}, {}
    for speaker, utterances in data.spk2utt.items():
        pieces, n = [pause], len(pause)
        for utterance in utterances:
            wave = soundfile.read(data.wav[utterance], dtype="int16")[0]
            segments[utterance] = Segment.of_samples(f"{speaker}-all", n, n + len(wave))
            wav[utterance] = str(target / f"{speaker}.flac")
            pieces += [wave, pause]
            n += len(wave) + len(pause)
        soundfile.write(target / f"{speaker}.flac", np.concatenate(pieces), 16000)
    joined = dataclasses.replace(data, wav=wav, segments=segments)
    joined.write(target)
    return joined
