"""IEMOCAP (Busso et al. 2008), for emotion recognition: four classes, five folds.

    ROOT/SessionN/sentences/wav/DIALOG/DIALOG_FNNN.wav
    ROOT/SessionN/dialog/EmoEvaluation/DIALOG.txt: `[start - end]<tab>NAME<tab>emotion<tab>...`

Excited counts as happy, as in SUPERB; other emotions are not used. The set of an utterance is the
number of its session: each in turn is tested, and the others train.
"""

from __future__ import annotations

import os
import re

from speechlm.data.folders import files_below, part_folders
from speechlm.data.report import Report
from speechlm.data.task_data import Collector, TaskData

SESSIONS = ("1", "2", "3", "4", "5")
CLASSES = {"neu": "neutral", "hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad"}
_LINE = re.compile(r"^\[[\d. -]+\]\t(\S+)\t(\w+)\t", re.MULTILINE)


def read_iemocap(corpus: str | os.PathLike[str]) -> tuple[TaskData, Report]:
    """Read the corpus; a label is one of neutral, happy, angry and sad.

    Raises:
        ValueError: a session is not there.
    """
    report = Report()
    found = Collector(report)
    folders = part_folders(corpus, [f"Session{n}" for n in SESSIONS], "IEMOCAP")
    for number, folder in zip(SESSIONS, folders, strict=True):
        emotions: dict[str, str] = {}
        for table in sorted((folder / "dialog" / "EmoEvaluation").glob("Ses*.txt")):
            emotions |= _LINE.findall(table.read_text(encoding="utf-8", errors="replace"))
        audio = folder / "sentences" / "wav"
        for path in (p for p in files_below(audio) if p.suffix.lower() == ".wav"):
            emotion = emotions.get(path.stem)
            if emotion is None:
                report.leave_out("no emotion", path.stem, path)
            elif emotion not in CLASSES:
                report.filter("another emotion", path.stem, path, emotion)
            else:
                # Ses01F_impro01_F000: of the session's two actors the one of the last letter speaks
                speaker = path.stem[:5] + path.stem.rsplit("_", 1)[-1][:1]
                found.add(path.stem, speaker, path, number, CLASSES[emotion])
    return found.finish(), report
