"""Audio of data directories for ESPnet's data sets: the type `data_dir` of a data path.

ESPnet's own type `sound` takes every line of wav.scp for an utterance, and reads whole files.
Importing this module makes `--train_data_path_and_name_and_type DIR/wav.scp,speech,data_dir` known
to its trainings, which reads the utterances of `DIR`, whether they are files or, by a table
`segments`, parts of recordings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from espnet2.train.dataset import DATA_TYPES

from speechlm.data.kaldi_dir import DataDir

DATA_DIR = "data_dir"
"""ESPnet's name of the type."""


class DataDirAudio(Mapping[str, np.ndarray]):
    """Waveforms by utterance id, (S,) float32 at 16 kHz, read when asked for.

    Args:
        path: wav.scp of a data directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._data = DataDir.read(Path(path).parent)

    def __getitem__(self, utterance: str) -> np.ndarray:
        return self._data.waveform(utterance)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data.ids)

    def __len__(self) -> int:
        return len(self._data)


DATA_TYPES[DATA_DIR] = {
    "func": DataDirAudio,
    "kwargs": [],
    "help": "wav.scp of a data directory of 16 kHz mono files; with a file `segments` beside it "
    "utterances are parts of the recordings",
}
