"""Waits for jobs under Slurm: by the exit codes that they write, and by Slurm's list of jobs.

A job's code, in a file on the shared file system, is there as soon as its command has ended. The
list says what no job can write itself: that it was cancelled, killed, lost with its node, or that
it will never start.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launch import Job
from slurm_queue import ENDS, NEVER, QUEUED, USUAL, WELL, Entry, Question, accounted, cancel
from trouble import refusal

ASK_S = 3.0
"""Seconds between two looks at Slurm's list; at least twice as long as an answer takes."""
SOON_S = 0.4
"""Seconds until a doubtful answer is asked for again."""
END_S, LEAVE_S = 5.0, 60.0
"""Seconds after a bad exit code in which Slurm may say more, and at most while the job ends."""


@dataclass
class Submission:
    """What one call of sbatch started: jobs by their place in the array ("" for a single one)."""

    id: str
    cluster: str
    jobs: dict[str, Job]


@dataclass
class Followed:
    """A job that has not ended yet, and what was seen of it."""

    job: Job
    id: str
    index: str
    cluster: str
    entry: Entry | None = None
    doubts: int = 0  # answers in a row that say that it is gone, has ended badly or cannot start
    code_since: float | None = None
    ran: bool = False


def read_codes(state: Path) -> dict[int, int]:
    """Return the exit codes that jobs have written, by number of the job.

    A file is made and removed first, so that a network file system's client looks anew.
    """
    look = state / "look"
    codes = {}
    try:
        look.touch()
        look.unlink()
        for entry in os.scandir(state):
            number, _, kind = entry.name.partition(".")
            if kind == "code" and number.isdecimal():
                text = Path(entry.path).read_text(encoding="ascii", errors="replace").strip()
                if text.isdecimal():
                    codes[int(number)] = int(text)
    except OSError:  # a full disk, or a job that starts anew: Slurm's list says it, too
        pass
    return codes


def words_before(state: Path, job: Job) -> str:
    """Return what a job wrote before it came to its log ("" if nothing)."""
    try:
        text = (state / f"{job.number}.out").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return " ".join(text.split())


class Watch:
    """Follows the jobs of submissions until each of them has a code."""

    def __init__(self, submissions: list[Submission], state: Path, say: Callable[[str], None]):
        self.state, self.say = state, say
        self.open = [
            Followed(job, one.id, index, one.cluster)
            for one in submissions
            for index, job in one.jobs.items()
        ]
        self.question: Question | None = None
        self.cluster = ""
        self.asked_at = self.known_at = time.monotonic()
        self.next_at = self.asked_at + 1.0
        self.silent_since: float | None = None
        self._told: set[str] = set()

    def run(self) -> None:
        """Wait until all jobs have ended."""
        begun = time.monotonic()
        while self.open:
            codes = read_codes(self.state)
            fresh = self.hear()
            self.open = [one for one in self.open if not self.settle(one, codes, fresh)]
            self.ask()
            time.sleep(min(1.0, 0.05 + (time.monotonic() - begun) / 50))

    def ask(self) -> None:
        """Ask squeue where it is time to, about one cluster after the other."""
        now = time.monotonic()
        doubtful = any(one.doubts or one.code_since is not None for one in self.open)
        if self.question or not self.open or now < (self.next_at if not doubtful else 0.0):
            return
        if doubtful and now < self.asked_at + SOON_S:
            return
        clusters = sorted({one.cluster for one in self.open})
        later = [name for name in clusters if name > self.cluster]
        self.cluster = (later or clusters)[0]
        ids = {one.id for one in self.open if one.cluster == self.cluster}
        self.question, self.asked_at = Question(sorted(ids, key=int), self.cluster), now

    def hear(self) -> bool:
        """Take squeue's answer; return whether there was a new one that can be read."""
        if self.question is None or not self.question.answered():
            return False
        (entries, error), self.question = self.question.answer(), None
        now = time.monotonic()
        self.known_at = self.asked_at
        self.next_at = now + max(ASK_S, 2 * (now - self.asked_at))
        if entries is None:
            if self.silent_since is None:
                self.say(f"squeue gives no answer ({error}); asked again")
                self.silent_since = now
            self.asked_at = now + ASK_S  # not sooner, whatever is doubtful
            return False
        if self.silent_since is not None:
            self.say(f"squeue answers again, after {now - self.silent_since:.0f} s")
            self.silent_since = None
        for one in self.open:
            if one.cluster == self.cluster:
                one.entry = entries.get((one.id, one.index))
        return True

    def settle(self, one: Followed, codes: dict[int, int], fresh: bool) -> bool:
        """Give a job its code and reason where it has ended; return whether it has."""
        code = codes.get(one.job.number)
        if code == 0:
            one.job.code = 0
            return True
        fresh = fresh and one.cluster == self.cluster
        if code is None:
            one.code_since = None
        elif self._ended_by_code(one, code):
            return True
        return fresh and self._ended_by_list(one, code)

    def _ended_by_code(self, one: Followed, code: int) -> bool:
        """Whether the job has ended badly and Slurm says no more than its code does.

        One that Slurm has put back into its queue will run again: the code is of the run before.
        """
        now = time.monotonic()
        if one.code_since is None:
            one.code_since, one.entry = now, None
        state = one.entry.state if one.entry else ""
        if state in QUEUED:
            one.code_since = None
            return False
        # An answer to a question that was asked since then may name the reason.
        open_yet = state == "COMPLETING" or self.known_at < one.code_since + SOON_S
        patience = LEAVE_S if open_yet else END_S
        if now > one.code_since + patience:
            return self._end(one, code, "")
        return False

    def _ended_by_list(self, one: Followed, code: int | None) -> bool:
        """Whether Slurm's list says that the job has ended or cannot start.

        It says so twice in a row, or once where the job's own code agrees.
        """
        entry = one.entry
        if entry is not None and entry.state == WELL:
            return self._end(one, code or 0, "")
        never = entry is not None and entry.state == "PENDING" and NEVER.search(entry.reason)
        if entry is not None and entry.state not in ENDS and not never:
            one.doubts = 0
            self._tell(one, entry)
            return False
        one.doubts += 1
        sure = code is not None and entry is not None and entry.state in ENDS
        if one.doubts < 2 and not sure:
            return False
        if never and entry is not None:
            cancel([f"{one.id}_{one.index}" if one.index else one.id], one.cluster)
            one.job.again = False
            return self._end(one, 1, f"can never start ({entry.reason})")
        if entry is None:
            one.entry = accounted([one.id], one.cluster).get((one.id, one.index))
            entry = one.entry
        if entry is None or entry.state not in (*ENDS, WELL):
            gone = "" if code else "is gone from Slurm's list and left no exit code"
            return self._end(one, code or 1, gone)
        if entry.state == WELL:
            return self._end(one, 0, "")
        one.job.again = entry.state != "CANCELLED"
        if entry.state == "FAILED" and code:
            return self._end(one, code, "")
        reason = f"{ENDS[entry.state]} ({entry.state})"
        if entry.state == "FAILED":
            wrote = refusal(self.state)  # a full disk, for one
            lost = f"killed, or {self.state.parent} is not there on its node"
            reason += f" without a word: {wrote or lost}"
        return self._end(one, code or 1, reason)

    def _end(self, one: Followed, code: int, reason: str) -> bool:
        job = one.job
        job.code, job.reason = code, reason
        if code != 0:
            if one.entry and one.entry.nodes:
                job.name += f", {one.entry.nodes}"
            if words := words_before(self.state, job):
                job.reason = f"{reason or f'ended with code {code}'}: {words}"
        return True

    def _tell(self, one: Followed, entry: Entry) -> None:
        """Say once why jobs wait where that is not usual, and that one is being ended by Slurm.

        One that has run and waits again, to go on where it was, is named each time.
        """
        what = ""
        if entry.state == "RUNNING":
            one.ran = True
        elif one.ran and entry.state in QUEUED:
            one.ran = False
            self.say(f"job {one.job.number} ({one.job.name}) is in Slurm's queue again, to go on")
        if entry.state == "PENDING" and not USUAL.fullmatch(entry.reason):
            what = f"waits: {entry.reason}"
        elif entry.state in ("REQUEUE_HOLD", "SPECIAL_EXIT", "SUSPENDED", "STOPPED"):
            what = f"is {entry.state}"
        if what and what not in self._told:
            self._told.add(what)
            self.say(f"job {one.job.number} ({one.job.name}) {what}")
