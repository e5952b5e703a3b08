"""Audio SNIPS (Lai et al. 2021), for slot filling.

    ROOT/all.iob.snips.txt     `ID BOS word word EOS<tab>O O slot ... intent`
    ROOT/{train,valid,test}/**/ID.wav, ID is SPEAKER-snips-SET-N

Speakers of training, validation and test are others, as in SUPERB.
"""

from __future__ import annotations

import os
from pathlib import Path

from speechlm.data.folders import files_below, part_folders
from speechlm.data.report import Report, tidy_lines
from speechlm.data.task_data import DEV, TEST, TRAIN, Collector, TaskData

TEXT = "all.iob.snips.txt"
SPEAKERS = {
    TRAIN: ("Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"),
    DEV: ("Aditi", "Amy", "Geraint", "Nicole"),
    TEST: ("Brian", "Emma", "Raveena", "Russell"),
}
FOLDERS = {TRAIN: "train", DEV: "valid", TEST: "test"}
OUTSIDE = "O"
"""Slot of words that are in none."""
_SIGNS = '?!.,;:-–…"'


def read_snips(corpus: str | os.PathLike[str]) -> tuple[TaskData, Report]:
    """Read the corpus; a label is `WORD|SLOT` for each word, in upper case.

    Raises:
        ValueError: the text or a folder is not there.
    """
    report = Report()
    found, root = Collector(report), Path(corpus)
    folders = part_folders(root, [*FOLDERS.values()], "Audio SNIPS")
    sentences = _sentences(root / TEXT, report)
    for group, folder in zip(FOLDERS, folders, strict=True):
        for path in (p for p in files_below(folder) if p.suffix.lower() == ".wav"):
            speaker, _, name = path.stem.partition("-")
            if path.stem not in sentences:
                report.leave_out("no sentence", path.stem, path)
            elif speaker not in SPEAKERS[group]:
                report.filter("speaker of another set", path.stem, path, speaker)
            else:
                found.add(name, speaker, path, group, sentences[path.stem])
    return found.finish(), report


def _sentences(path: Path, report: Report) -> dict[str, str]:
    if not path.is_file():
        raise ValueError(f"Audio SNIPS: {path} expected, but it is not there")
    found = {}
    for number, line in tidy_lines(path, report, lambda n, _: f"line_{n}"):
        text, _, tags = line.partition("\t")
        name, *words = text.split()
        slots = tags.split()
        # BOS, EOS and the intent, which stands last, are no words and no slots
        if len(words) != len(slots) or len(words) < 3:
            detail = f"line {number} has {len(words)} words and {len(slots)} slots"
            report.leave_out("words and slots differ", name, path, detail)
            continue
        found[name] = _pairs(words[1:-1], slots[1:-1])
    return found


def _pairs(words: list[str], slots: list[str]) -> str:
    """`WORD|SLOT ...`, without punctuation; `B-` and `I-` before a slot's name are taken off."""
    kept = []
    for word, slot in zip(words, slots, strict=True):
        spoken = "AND" if word == "&" else word.strip(_SIGNS).replace("|", "").upper()
        if spoken:
            kept.append(f"{spoken}|{slot.removeprefix('B-').removeprefix('I-')}")
    return " ".join(kept)
