"""Small corpora and files for the tests of the data code."""

from pathlib import Path

import numpy as np
import soundfile


def tone(seconds: float = 1.0, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Noise (S,) float32 that FLAC cannot make much smaller."""
    return (np.random.default_rng(seed).standard_normal(int(seconds * rate)) * 0.1).astype("f4")


def write_corpus(root: Path, part: str = "train", speakers=("7", "12"), n: int = 3) -> list[str]:
    """A corpus in LibriSpeech's layout; returns the utterance ids."""
    ids = []
    for speaker in speakers:
        folder = root / part / speaker / "100"
        folder.mkdir(parents=True)
        mine = [f"{speaker}-100-{i:04d}" for i in range(n)]
        for i, utterance in enumerate(mine):
            waveform = tone(1 + 0.1 * i, seed=hash_of(utterance))
            soundfile.write(folder / f"{utterance}.flac", waveform, 16000)
        lines = [f"{u} HELLO IT'S NUMBER {'ABCDEFG'[i]}\n" for i, u in enumerate(mine)]
        (folder / f"{speaker}-100.trans.txt").write_text("".join(lines))
        ids += mine
    return sorted(ids)


def hash_of(text: str) -> int:
    """A number that is the same in every process."""
    return sum((i + 1) * ord(c) for i, c in enumerate(text))
