"""Small corpora and files for the tests of the data code."""

from pathlib import Path

import numpy as np
import soundfile

from speechlm.data.format import format_data
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report
from speechlm.data.validate import CheckedTables


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


def dump_of(source: Path, target: Path, *options) -> tuple[DataDir, Report]:
    """What `format_data` makes of a data directory, read again."""
    utterances, report = format_data(source, target, *options)
    data = DataDir.read(target)
    assert [utterances.id(row) for row in range(len(utterances))] == data.ids
    assert utterances.total_samples() == sum(data.n_samples.values())
    return data, report


def checked(folder: Path) -> tuple[DataDir, Report]:
    """The utterances of a data directory that may be wrong, and what is said of the others."""
    tables = CheckedTables(folder, folder)
    found = list(tables)
    languages = {
        name: {u.utterance: u.translations[n] for u in found}
        for n, name in enumerate(tables.languages)
    }
    return DataDir(
        {u.utterance: u.path for u in found},
        {u.utterance: u.speaker for u in found},
        {u.utterance: u.text for u in found} if tables.text else None,
        translations=languages,
        segments={u.utterance: u.segment for u in found if u.segment is not None},
    ), tables.report
