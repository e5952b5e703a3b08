"""Which corpus each task of SUPERB is about, and what reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from speechlm.data.fluent_commands import read_fluent_commands
from speechlm.data.iemocap import SESSIONS, read_iemocap
from speechlm.data.libri2mix import read_libri2mix
from speechlm.data.librispeech_sets import read_librispeech_sets
from speechlm.data.quesst import read_quesst
from speechlm.data.report import Report
from speechlm.data.snips import read_snips
from speechlm.data.speech_commands import read_speech_commands
from speechlm.data.task_data import DEV, DOC, TEST, TRAIN, TaskData
from speechlm.data.voxceleb import read_speakers, read_verification
from speechlm.tokenizers.covering_lexicon import cover

Reader = Callable[[Path], tuple[TaskData, Report]]


@dataclass(frozen=True)
class Corpus:
    """A corpus in its published layout."""

    folder: str
    """Its name in a folder of several corpora."""
    read: Reader


CORPORA: Mapping[str, Corpus] = {
    "pr": Corpus("LibriSpeech", read_librispeech_sets),
    "asr": Corpus("LibriSpeech", read_librispeech_sets),
    "ks": Corpus("speech_commands", read_speech_commands),
    "ic": Corpus("fluent_speech_commands_dataset", read_fluent_commands),
    "sid": Corpus("VoxCeleb1", read_speakers),
    "qbe": Corpus("quesst14Database", read_quesst),
    "sf": Corpus("audio_snips", read_snips),
    "asv": Corpus("VoxCeleb1", read_verification),
    "sd": Corpus("Libri2Mix", read_libri2mix),
    "er": Corpus("IEMOCAP", read_iemocap),
}
"""By task."""
CLASSIFICATION = ("ks", "ic", "sid", "er")
"""Tasks whose labels are classes that must all be known from training."""


def read_task(task: str, corpus: str) -> tuple[TaskData, Report]:
    """Read what a task is about, and check that it can be learned.

    Args:
        task: one of `CORPORA`.
        corpus: folder of the corpus.

    Raises:
        ValueError: the corpus lacks a part, or a class that is tested is in no training.
    """
    data, report = CORPORA[task].read(Path(corpus))
    check_sets(task, data, corpus)
    if task == "pr":
        data = in_phones(data)
    if task in CLASSIFICATION and task != "er":
        check_classes(data, report)
    return data, report


def check_sets(task: str, data: TaskData, corpus: str) -> None:
    """Make sure that there is something to train on, to choose by and to test.

    Raises:
        ValueError: a set has no utterance, or verification no trials; the set is named.
    """
    groups = {"qbe": (DOC, DEV, TEST), "er": SESSIONS}.get(task, (TRAIN, DEV, TEST))
    try:
        for group in groups:
            data.members(group)
        if task == "asv":
            for group in (DEV, TEST):
                data.trials_of(group)
    except ValueError as error:
        raise ValueError(f"{corpus}: {task}: {error}") from None


def in_phones(data: TaskData) -> TaskData:
    """Labels of words as phones with stress, each word's first pronunciation.

    Words that no dictionary has are pronounced by the same rules as in phoneme units.
    """
    words = sorted({word for label in data.labels.values() for word in label.split()})
    entries = cover(words).lexicon.entries
    spoken = {
        utterance: " ".join(phone for word in label.split() for phone in entries[word][0])
        for utterance, label in data.labels.items()
    }
    return replace(data, labels=spoken)


def check_classes(data: TaskData, report: Report) -> None:
    """Refuse classes that only dev or test have; note those with a single example.

    Raises:
        ValueError: there are such classes; they and their utterances are named.
    """
    train = data.members(TRAIN)
    # Of an intent each of its three parts must be known, not all three together.
    known = {part for u in train for part in enumerate(data.labels[u].split())}
    foreign: dict[str, str] = {}
    for group in (DEV, TEST):
        for u in data.members(group):
            if {*enumerate(data.labels[u].split())} - known:
                foreign[u] = data.labels[u]
    if foreign:
        shown = ", ".join(f"{u} ({label})" for u, label in sorted(foreign.items())[:5])
        raise ValueError(
            f"classes that the set {TRAIN} has are expected in {DEV} and {TEST}; {len(foreign)} "
            f"utterances have others: {shown}; take them out of the corpus, or check its parts"
        )
    examples = Counter(data.labels[u] for u in train)
    for utterance in train:
        if examples[data.labels[utterance]] == 1:
            where = data.data.wav[utterance]
            report.note("class with one example", utterance, where, data.labels[utterance])
