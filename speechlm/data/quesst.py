"""QUESST 2014 (Anguera et al. 2014), for query by example: the English part.

    ROOT/scoring/language_key_{utterances,dev,eval}.lst    `DATABASE/Audio/NAME.wav LANGUAGE`
    ROOT/scoring/groundtruth_quesst14_{dev,eval}/*.rttm    lines `LEXEME DOCUMENT 1 0 S QUERY ...`
    ROOT/Audio/*.wav, ROOT/dev_queries/*.wav, ROOT/eval_queries/*.wav

In which documents a query is said, the RTTM files tell: a line for each.
"""

from __future__ import annotations

import os
from pathlib import Path

from speechlm.data.report import Report
from speechlm.data.task_data import DEV, DOC, TEST, Collector, TaskData, table_lines
from speechlm.data.whole_files import read_lines

LISTS = {DOC: "utterances", DEV: "dev", TEST: "eval"}
ENGLISH = "nnenglish"
NOWHERE = "-"
"""Label of a document, and of a query that is said in none."""


def read_quesst(corpus: str | os.PathLike[str]) -> tuple[TaskData, Report]:
    """Read documents and queries; a query's label are the ids of its documents.

    Raises:
        ValueError: a list or the truth is not there.
    """
    report = Report()
    found, root = Collector(report), Path(corpus)
    ids: dict[tuple[bool, str], str] = {}
    for group, name in LISTS.items():
        for path, language in table_lines(root / "scoring" / f"language_key_{name}.lst", report, 2):
            if language == ENGLISH:
                audio = root / path.partition("/")[2]  # without the database's own name
                who = "doc" if group == DOC else "query"
                ids[group == DOC, audio.stem] = found.add(audio.stem, who, audio, group, NOWHERE)
    for name in (LISTS[DEV], LISTS[TEST]):
        for query, documents in _truth(root / "scoring" / f"groundtruth_quesst14_{name}").items():
            utterance = ids.get((False, query))
            said = sorted({i for d in documents if (i := ids.get((True, d)))})
            if utterance and said:
                found.labels[utterance] = " ".join(said)
    for utterance, label in found.labels.items():
        if found.sets[utterance] != DOC and label == NOWHERE:
            report.note("query in no document", utterance, found.wav[utterance])
    return found.finish(), report


def _truth(folder: Path) -> dict[str, list[str]]:
    """{query: documents} of the RTTM files in a folder."""
    files = sorted(folder.glob("*.rttm"))
    if not files:
        raise ValueError(f"QUESST 2014: {folder}/*.rttm expected, but there is none")
    truth: dict[str, list[str]] = {}
    for path in files:
        for line in read_lines(path, "truth"):
            words = line.split()
            if words[:1] == ["LEXEME"] and len(words) >= 6:
                truth.setdefault(words[5], []).append(words[1])
    return truth
