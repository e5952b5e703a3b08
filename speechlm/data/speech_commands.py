"""Speech Commands v1 (Warden 2018), for keyword spotting: ten words, unknown, silence.

    ROOT/speech_commands_v0.01/WORD/SPEAKER_nohash_N.wav, _background_noise_/*.wav
    ROOT/speech_commands_test_set_v0.01/CLASS/*.wav

The test set has folders of the twelve classes. Training and validation are told apart by a hash of
the speaker's name, so that nobody is in both; what the hash gives to its own test set is not used.
"""

from __future__ import annotations

import hashlib
import os

from speechlm.data.folders import part_folders
from speechlm.data.names import visible
from speechlm.data.report import Report
from speechlm.data.task_data import DEV, TEST, TRAIN, Collector, TaskData

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN, SILENCE = "_unknown_", "_silence_"
NOISE = "_background_noise_"
TRAINING, TESTING = "speech_commands_v0.01", "speech_commands_test_set_v0.01"
_LIMIT = 2**27 - 1
_DEV_PERCENT, _TEST_PERCENT = 10, 10


def read_speech_commands(corpus: str | os.PathLike[str]) -> tuple[TaskData, Report]:
    """Read the corpus.

    Raises:
        ValueError: a folder is not there.
    """
    report = Report()
    found = Collector(report)
    training, testing = part_folders(corpus, (TRAINING, TESTING), "Speech Commands v1")
    for folder in (path for path in visible(training.iterdir()) if path.is_dir()):
        word = folder.name
        for path in (p for p in visible(folder.iterdir()) if p.suffix.lower() == ".wav"):
            if word == NOISE:
                found.add(path.stem, "noise", path, TRAIN, SILENCE)
                continue
            speaker = path.stem.split("_nohash_")[0]
            group = set_of(speaker)
            if group != TEST:
                label = word if word in KEYWORDS else UNKNOWN
                found.add(f"{word}-{path.stem}", speaker, path, group, label)
    for folder in (path for path in visible(testing.iterdir()) if path.is_dir()):
        if folder.name not in (*KEYWORDS, UNKNOWN, SILENCE):
            report.leave_out("unknown class", folder.name, folder)
            continue
        for path in (p for p in visible(folder.iterdir()) if p.suffix.lower() == ".wav"):
            speaker = path.stem.split("_nohash_")[0]
            found.add(f"test-{folder.name}-{path.stem}", speaker, path, TEST, folder.name)
    return found.finish(), report


def set_of(speaker: str) -> str:
    """The set in which all of a speaker's recordings are, as the corpus's README defines it."""
    number = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (_LIMIT + 1)
    percent = number * (100.0 / _LIMIT)
    if percent < _DEV_PERCENT:
        return DEV
    return TEST if percent < _DEV_PERCENT + _TEST_PERCENT else TRAIN
