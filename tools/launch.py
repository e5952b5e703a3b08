"""What the launchers local.py and slurm.py share: the words of a call, jobs, the report.

    LAUNCHER [option...] [JOB=FIRST:LAST] [option...] LOG COMMAND [ARGUMENT...]

The grammar is that of Kaldi's run.pl, queue.pl and slurm.pl, so that a `cmd.sh` keeps its options
when the launcher changes: each option has a value, `-` and `_` in its name are the same, the last
of two wins, and an option that a launcher has no use for is ignored by local.py and looked up in
the site's configuration by slurm.py. Unlike Kaldi's, no shell reads the command again: arguments
and paths may hold any characters.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from process import SAVED, how_it_ended

TAIL_LINES, TAIL_BYTES = 20, 16384
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
ALIASES = {"max_jobs": "max_jobs_run"}
LOWEST = {"gpu": 0, "num_threads": 1, "num_nodes": 1, "max_jobs_run": 1, "retry": 0, "restarts": 0}
"""Options whose values are whole numbers, and the lowest one of each."""
WITHOUT_VALUE = ("-V",)
VALUES_OF = {"-pe": 2}


class UsageError(ValueError):
    """A call that cannot be understood."""


@dataclass
class Call:
    """A call of a launcher, understood.

    `options` are those with two dashes, by name with `_`; `dashed` the words of those with one
    dash, which are meant for a cluster's own command. `variable` is what stands for the number of
    a job, such as JOB ("" where there is none).
    """

    options: dict[str, str] = field(default_factory=dict)
    dashed: list[str] = field(default_factory=list)
    variable: str = ""
    numbers: range = range(1, 2)
    log: str = ""
    command: list[str] = field(default_factory=list)

    def number(self, name: str) -> int | None:
        """Return the value of an option of `LOWEST`, None where it was not given."""
        return int(self.options[name]) if name in self.options else None


@dataclass
class Job:
    """One job: its number, command and log; when it has ended its exit code.

    `reason` says more than the code where more is known, `name` is the cluster's id of it, and
    `again` whether another attempt could end better.
    """

    number: int
    command: list[str]
    log: Path
    attempt: int = 1
    code: int | None = None
    reason: str = ""
    name: str = ""
    again: bool = True


def parse_memory(text: str) -> int:
    """Return the bytes of an amount such as 500M or 4G; a number alone is in MiB, as for Slurm.

    Raises:
        UsageError: The text is no amount.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:([KMGT])i?B?)?", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"--mem: '{text}' is not an amount of memory such as 500M or 4G")
    return int(float(match[1]) * UNITS[(match[2] or "M").upper()])


def _check_value(name: str, value: str) -> None:
    if name in LOWEST and not (value.isdecimal() and int(value) >= LOWEST[name]):
        raise UsageError(f"--{name} takes a whole number, {LOWEST[name]} or more, not '{value}'")
    if name == "mem":
        parse_memory(value)


def _take_option(words: list[str], call: Call) -> None:
    """Move an option and its value from the front of `words` to the call."""
    word = words.pop(0)
    if word in WITHOUT_VALUE:
        call.dashed.append(word)
        return
    name, has_value, value = word.partition("=")
    if not word.startswith("--") or not has_value:
        n = VALUES_OF.get(word, 1)
        if len(words) < n or words[0].startswith("--"):
            raise UsageError(f"the option {word} has no value")
        name, value = word, words[0]
        if not word.startswith("--") and word != "-tc":
            call.dashed += [word, *words[:n]]
        del words[:n]
    if name == "-tc":  # queue.pl's way to say --max-jobs-run
        name = "--max_jobs_run"
    if name.startswith("--"):
        name = name[2:].replace("-", "_")
        name = ALIASES.get(name, name)
        _check_value(name, value)
        call.options[name] = value


def _take_range(word: str, call: Call) -> bool:
    """Read `JOB=1:8` or `JOB=3`; return whether the word was a range."""
    match = re.fullmatch(r"([A-Za-z_]\w*)=(\d+)(?::(\d+))?", word)
    if not match:
        if re.fullmatch(r"\w+=[\w:]*", word):
            raise UsageError(f"'{word}' is not a range such as JOB=1:8")
        return False
    if call.variable:
        raise UsageError(f"a second range: {word}")
    call.variable, first = match[1], int(match[2])
    last = int(match[3] or first)
    if first < 1:
        raise UsageError(f"the range {word} begins below 1, which no cluster numbers jobs with")
    if last < first:
        raise UsageError(f"the range {word} is empty")
    call.numbers = range(first, last + 1)
    return True


def parse_call(argv: Sequence[str]) -> Call:
    """Return the options, the range of jobs, the log and the command of a call.

    Raises:
        UsageError: The words do not follow the grammar.
    """
    words, call = list(argv), Call()
    while words:
        if words[0].startswith("-") and words[0] != "-":
            _take_option(words, call)
        elif _take_range(words[0], call):
            del words[0]
        else:
            break
    if len(words) < 2:
        raise UsageError("a log and a command are wanted")
    call.log, call.command = words[0], words[1:]
    if len(call.numbers) > 1 and call.variable not in call.log:
        raise UsageError(f"the log '{call.log}' has no {call.variable}: all jobs would share it")
    return call


def read_call(program: str, description: str, argv: Sequence[str]) -> Call:
    """Return the call; show `description` for --help, and exit with 2 where it is not understood.

    Raises:
        SystemExit: In both of these cases.
    """
    if argv and argv[0] in ("-h", "--help"):
        print(description.strip())
        raise SystemExit(0)
    try:
        return parse_call(argv)
    except UsageError as error:
        print(f"{program}: error: {error}\n{program}: --help says more", file=sys.stderr)
        raise SystemExit(2) from None


def make_jobs(call: Call) -> list[Job]:
    """Return the jobs with their number filled in."""
    jobs = []
    for number in call.numbers:
        words = [call.log, *call.command]
        if call.variable:
            words = [word.replace(call.variable, str(number)) for word in words]
        jobs.append(Job(number=number, command=words[1:], log=Path(words[0])))
    return jobs


def run_attempts(
    program: str, jobs: list[Job], retries: int, run: Callable[[list[Job]], None]
) -> None:
    """Run the jobs, and those that failed up to `retries` times more; `run` sets their codes."""
    run(jobs)
    for attempt in range(retries):
        failed = [job for job in jobs if job.code not in (0, SAVED) and job.again]
        if not failed:
            return
        print(
            f"{program}: {numbers_text(failed)} failed ({explain(failed[0])}); "
            f"attempt {attempt + 2} of {retries + 1}",
            file=sys.stderr,
            flush=True,
        )
        for job in failed:
            job.attempt, job.code, job.reason = job.attempt + 1, None, ""
        run(failed)


def numbers_text(jobs: list[Job]) -> str:
    """Return the numbers of jobs as text, the first twenty of them."""
    text = ", ".join(str(job.number) for job in jobs[:20])
    return text + (f" and {len(jobs) - 20} more" if len(jobs) > 20 else "")


def explain(job: Job) -> str:
    """Return how a job ended: its cluster's id, code and reason, as far as they are known."""
    text = f"job {job.number}" + (f" ({job.name})" if job.name else "")
    if job.reason:
        return f"{text} {job.reason}" + (f"; code {job.code}" if job.code else "")
    return f"{text} {how_it_ended(job.code or 0, 'ended with')}"


def tail(log: Path) -> str:
    """Return the last lines of a log, or that there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return "    (there is none: the job has not begun)"
    except OSError as error:
        return f"    (it cannot be read: {error.strerror})"
    return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])


def report(program: str, jobs: list[Job]) -> int:
    """Say which jobs failed and why, with the end of the first one's log; return the exit code.

    Jobs that failed for another reason than the first one are named with theirs. Where a signal has
    asked trainings to stop, and they have saved their states, the code is theirs.
    """
    failed = [job for job in jobs if job.code not in (0, SAVED)]
    if not failed:
        return SAVED if any(job.code == SAVED for job in jobs) else 0
    lines = [f"{len(failed)} of {len(jobs)} jobs failed: {numbers_text(failed)}"]
    seen = {(failed[0].reason, failed[0].code)}
    for job in failed[1:]:
        if (job.reason, job.code) not in seen:
            seen.add((job.reason, job.code))
            lines.append(explain(job))
    lines.append(f"{explain(failed[0])}; the end of {failed[0].log}:")
    for line in lines:
        print(f"{program}: {line}", file=sys.stderr)
    print(tail(failed[0].log), file=sys.stderr)
    return 1
