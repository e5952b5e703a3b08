"""LibriSpeech as SUPERB uses it, for phone and speech recognition: 100 hours to train on."""

from __future__ import annotations

import os

from speechlm.data.kaldi_dir import DataDir
from speechlm.data.librispeech import read_librispeech
from speechlm.data.report import Report
from speechlm.data.task_data import DEV, TEST, TRAIN, TaskData

PARTS = {TRAIN: "train-clean-100", DEV: "dev-clean", TEST: "test-clean"}


def read_librispeech_sets(corpus: str | os.PathLike[str]) -> tuple[TaskData, Report]:
    """Read the three parts; a label are the words of an utterance.

    Raises:
        ValueError: a part is not there, or has no utterance with a transcript.
    """
    report = Report()
    data = DataDir({}, {})
    sets: dict[str, str] = {}
    labels: dict[str, str] = {}
    for group, part in PARTS.items():
        found, problems = read_librispeech(corpus, [part])
        report.items += problems.items
        data.wav |= found.wav
        data.utt2spk |= found.utt2spk
        labels |= found.text or {}
        sets |= dict.fromkeys(found.wav, group)
    return TaskData(data, sets, labels), report
