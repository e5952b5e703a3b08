"""Data of a task that judges representations: utterances, the set of each, a label of each.

A folder of such a task is a data directory with two tables more, and perhaps a third:

    sets     train, dev or test; in query by example doc, dev or test; a fold's number in emotion
             recognition
    labels   what is to be found out: a class, words, phones, `WORD|SLOT` pairs, turns
             `SPEAKER:START:END` (seconds), or the documents in which a query is said
    trials   pairs of utterances, `1` (same speaker) or `0` before them, of speaker verification
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speechlm.data.atomic import output_file
from speechlm.data.kaldi_dir import DataDir, read_table, show_ids, write_table
from speechlm.data.names import path_problem, safe_id
from speechlm.data.report import Report, tidy_lines
from speechlm.data.whole_files import read_lines

SETS, LABELS, TRIALS = "sets", "labels", "trials"
TRAIN, DEV, TEST, DOC = "train", "dev", "test", "doc"


@dataclass(frozen=True)
class Trial:
    """Two utterances, and whether one speaker has said both."""

    same: bool
    first: str
    second: str


@dataclass
class TaskData:
    """Utterances of a task with their sets and labels."""

    data: DataDir
    sets: dict[str, str]
    labels: dict[str, str]
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, table in ((SETS, self.sets), (LABELS, self.labels)):
            if odd := sorted(table.keys() ^ self.data.wav.keys()):
                raise ValueError(f"wav.scp and {name} have different ids: {show_ids(odd)}")
        named = {u for trial in self.trials for u in (trial.first, trial.second)}
        if odd := sorted(named - self.data.wav.keys()):
            raise ValueError(f"{TRIALS} name utterances that are not there: {show_ids(odd)}")

    def members(self, name: str) -> list[str]:
        """Sorted ids of a set.

        Raises:
            ValueError: it has none.
        """
        found = sorted(u for u, value in self.sets.items() if value == name)
        if not found:
            there = " ".join(sorted({*self.sets.values()}))
            raise ValueError(f"utterances of the set {name!r} expected; there are those of {there}")
        return found

    def trials_of(self, name: str) -> list[Trial]:
        """The trials whose utterances are of a set.

        Raises:
            ValueError: there are none, or all are of one kind.
        """
        found = [
            t for t in self.trials if self.sets[t.first] == name and self.sets[t.second] == name
        ]
        if len({trial.same for trial in found}) < 2:
            raise ValueError(
                f"trials of the set {name!r} expected, of the same and of different speakers; "
                f"{len(found)} are there"
            )
        return found

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write all tables; the data directory comes last, whose wav.scp says that all is there."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "wav.scp").unlink(missing_ok=True)
        write_table(folder / SETS, self.sets)
        write_table(folder / LABELS, self.labels)
        (folder / TRIALS).unlink(missing_ok=True)
        if self.trials:
            with output_file(folder / TRIALS) as temporary, temporary.open("w") as file:
                file.writelines(f"{int(t.same)} {t.first} {t.second}\n" for t in self.trials)
        self.data.write(folder)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> TaskData:
        """What `write` wrote.

        Raises:
            ValueError: a table is missing, damaged, or of other utterances.
        """
        folder = Path(path)
        data = DataDir.read(folder)
        sets, labels = read_table(folder / SETS), read_table(folder / LABELS, empty=True)
        trials = []
        if (folder / TRIALS).is_file():
            trials = read_trials(folder / TRIALS, lambda name: name)
        try:
            return cls(data, sets, labels, trials)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None


def read_trials(path: Path, name: Callable[[str], str]) -> list[Trial]:
    """Lines `1 FIRST SECOND` and `0 FIRST SECOND`.

    Args:
        path: the file.
        name: makes an id of what a line names.

    Raises:
        ValueError: a line is of another form.
    """
    trials = []
    for number, line in enumerate(read_lines(path, "trials"), 1):
        fields = line.split()
        if len(fields) != 3 or fields[0] not in ("0", "1"):
            raise ValueError(f"{path}:{number}: `1 FIRST SECOND` or `0 ...` expected, got {line!r}")
        trials.append(Trial(fields[0] == "1", name(fields[1]), name(fields[2])))
    return trials


class Collector:
    """Gathers the utterances of a corpus; what cannot be used is reported."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.wav: dict[str, str] = {}
        self.speakers: dict[str, str] = {}
        self.sets: dict[str, str] = {}
        self.labels: dict[str, str] = {}

    def add(self, name: str, speaker: str, path: Path, group: str, label: str) -> str:
        """Add an utterance; returns its id, SPEAKER-NAME, or nothing if it is left out.

        Args:
            name: what tells the speaker's utterances apart.
            speaker: who says it.
            path: audio file.
            group: its set.
            label: its label.
        """
        who = safe_id(speaker)
        utterance = safe_id(f"{who}-{name}")
        problem = path_problem(path)
        if problem:
            self.report.leave_out("bad path", utterance, repr(os.fspath(path)), problem)
        elif not path.is_file():
            self.report.leave_out("no audio file", utterance, path)
        elif utterance in self.wav:
            detail = f"{self.wav[utterance]} is used"
            self.report.leave_out("duplicate id", utterance, path, detail)
        else:
            self.wav[utterance], self.speakers[utterance] = str(path), who
            self.sets[utterance], self.labels[utterance] = group, " ".join(label.split())
            return utterance
        return ""

    def finish(self, trials: Sequence[Trial] = ()) -> TaskData:
        """All that was added; trials of what was left out are reported."""
        kept = []
        for trial in trials:
            absent = [u for u in (trial.first, trial.second) if u not in self.wav]
            if absent:
                self.report.note("trial without audio", absent[0], "-", "the trial is not used")
            else:
                kept.append(trial)
        return TaskData(DataDir(self.wav, self.speakers), self.sets, self.labels, kept)


def table_lines(path: Path, report: Report, fields: int) -> list[list[str]]:
    """The lines of a table with blanks between its fields; others are left out and reported.

    Raises:
        ValueError: the file is not there.
    """
    if not path.is_file():
        raise ValueError(f"{path} expected, but it is not there")
    found = []
    for number, line in tidy_lines(path, report, lambda n, _: f"line_{n}"):
        words = line.split()
        if len(words) == fields:
            found.append(words)
        else:
            detail = f"line {number} has {len(words)} fields, {fields} are expected"
            report.leave_out("wrong number of fields", words[0][:80], path, detail)
    return found
