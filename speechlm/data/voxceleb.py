"""VoxCeleb1 (Nagrani et al. 2017), for speaker identification and verification.

    ROOT/dev/wav/SPEAKER/VIDEO/NNNNN.wav, ROOT/test/wav/SPEAKER/VIDEO/NNNNN.wav
    ROOT/iden_split.txt        `1|2|3 SPEAKER/VIDEO/NNNNN.wav`: training, validation, test
    ROOT/veri_test2.txt        `1|0 SPEAKER/VIDEO/NNNNN.wav SPEAKER/VIDEO/NNNNN.wav`: trials

The two lists are from the corpus's page; voxceleb1_test_v2.txt is another name of the second. In
verification, speakers of the trials are in no training. Validation trials are drawn among the
utterances of validation, which SUPERB has not: without them a rate would be chosen by the test.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from speechlm.data.report import Report
from speechlm.data.task_data import (
    DEV,
    TEST,
    TRAIN,
    Collector,
    TaskData,
    Trial,
    read_trials,
    table_lines,
)

SPLIT = "iden_split.txt"
TRIAL_LISTS = ("veri_test2.txt", "voxceleb1_test_v2.txt", "veri_test.txt")
DEV_TRIALS = 4000
"""Drawn at most, half of them of the same speaker."""
_SETS = {"1": TRAIN, "2": DEV, "3": TEST}


def read_speakers(corpus: str | os.PathLike[str]) -> tuple[TaskData, Report]:
    """Read the corpus for identification; a label is the speaker.

    Raises:
        ValueError: the list of sets is not there.
    """
    report = Report()
    found, root = Collector(report), Path(corpus)
    for code, name in table_lines(root / SPLIT, report, 2):
        if code not in _SETS:
            report.leave_out("unknown set", name, root / SPLIT, f"{code}; 1, 2 or 3 is expected")
            continue
        speaker, rest = _parts(name)
        found.add(rest, speaker, _audio(root, name), _SETS[code], speaker)
    return found.finish(), report


def read_verification(corpus: str | os.PathLike[str]) -> tuple[TaskData, Report]:
    """Read the corpus for verification: training by speaker, trials for dev and test.

    Raises:
        ValueError: a list is not there.
    """
    report = Report()
    found, root = Collector(report), Path(corpus)
    lists = [root / name for name in TRIAL_LISTS if (root / name).is_file()]
    if not lists:
        raise ValueError(f"{root}: a list of trials expected, {' or '.join(TRIAL_LISTS)}")
    trials = read_trials(lists[0], lambda name: "-".join(_parts(name)))
    tested = {u.split("-")[0] for trial in trials for u in (trial.first, trial.second)}
    wanted = {u for trial in trials for u in (trial.first, trial.second)}
    for code, name in table_lines(root / SPLIT, report, 2):
        speaker, rest = _parts(name)
        if speaker in tested:
            if f"{speaker}-{rest}" in wanted:
                found.add(rest, speaker, _audio(root, name), TEST, speaker)
        else:
            group = DEV if code == "2" else TRAIN
            found.add(rest, speaker, _audio(root, name), group, speaker)
    held = [u for u, group in found.sets.items() if group == DEV]
    return found.finish([*draw_trials(held, found.labels), *trials]), report


def draw_trials(utterances: list[str], speakers: dict[str, str], seed: int = 1) -> list[Trial]:
    """Pairs of utterances, as many of the same speaker as of different ones, none twice.

    Args:
        utterances: to draw from.
        speakers: of each.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    ids = sorted(utterances)
    pairs: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    by_speaker: dict[str, list[str]] = {}
    for u in ids:
        by_speaker.setdefault(speakers[u], []).append(u)
    several = [group for group in by_speaker.values() if len(group) > 1]
    if len(by_speaker) < 2 or not several:
        return []
    for _ in range(4 * DEV_TRIALS):  # draws that repeat a pair are lost, hence more of them
        group = several[rng.integers(len(several))]
        first, second = sorted(group[i] for i in rng.choice(len(group), 2, replace=False))
        pairs[True].add((first, second))
        first, second = sorted(ids[i] for i in rng.choice(len(ids), 2, replace=False))
        if speakers[first] != speakers[second]:
            pairs[False].add((first, second))
        if min(map(len, pairs.values())) >= DEV_TRIALS // 2:
            break
    n = min(DEV_TRIALS // 2, *map(len, pairs.values()))
    return [Trial(same, *pair) for same, drawn in pairs.items() for pair in sorted(drawn)[:n]]


def _parts(name: str) -> tuple[str, str]:
    """`id10001/VIDEO/00001.wav` -> speaker, `VIDEO-00001`."""
    speaker, *rest = name.removesuffix(".wav").split("/")
    return speaker, "-".join(rest)


def _audio(root: Path, name: str) -> Path:
    """The file of either half of the corpus; that of the first where there is none."""
    places = [root / half / "wav" / name for half in ("dev", "test")]
    return next((place for place in places if place.is_file()), places[0])
