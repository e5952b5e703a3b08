#!/usr/bin/env python3
"""Runs jobs on a Slurm cluster, with the contract of Kaldi's slurm.pl.

    slurm.py [option...] [JOB=FIRST:LAST] [option...] LOG COMMAND [ARGUMENT...]

    --config FILE       what options mean here (default: conf/slurm.conf if it is there)
    --gpu N             GPUs of each job (default 0)
    --num_threads N     cores of each job, and OMP_NUM_THREADS in it
    --mem 4G            memory of each job
    --time 1-0          longest time of each job
    --num_nodes N       nodes of each job
    --name WORD         name of the jobs in Slurm's list
    --max_jobs_run N    jobs at once (default: what Slurm does); also --max_jobs
    --retry N           attempts more for each job that fails (default 0)
    --restarts N        how often a job whose time is over may go on (default 100)

and any other option that the configuration describes, in the syntax of Kaldi's and ESPnet's
conf/slurm.conf. Options with one dash go to sbatch as they are.

The jobs are one array, or several where Slurm's limit asks for it. Each runs the command with JOB
replaced by its number in the arguments and in the name of the log; no shell reads the arguments
again. Jobs get PATH, PYTHONPATH, LC_ALL, PYTHONUNBUFFERED and SPEECHLM_* from here, whatever
sbatch's --export says. The exit code is 0 only if every job's was. Jobs are cancelled when this
program is stopped or its parent ends.

Commands that handle SIGUSR1 get it two minutes before the end of their time, and when this program
gets it. Those that then end with code 75, as trainings that have saved their states do, are put
back into Slurm's queue and waited for.

Neither accounting nor sacct is needed; the folder of the log and the current one must be on a file
system that the nodes share.
"""

import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from launch import Call, Job, make_jobs, read_call, report, run_attempts
from process import SAVED, Stopped, die_with_parent, not_stopped, raise_when_stopped, unblock
from slurm_conf import check_words, read_configuration, sbatch_words
from slurm_queue import (
    ENDS,
    NOT_THERE,
    WELL,
    Question,
    ask,
    cancel,
    check_site,
    environment,
    largest_array,
    notify,
)
from slurm_script import NOTICE_S, job_script
from slurm_watch import Submission, Watch, read_codes
from trouble import in_words

# What sbatch says when the controller has no time, not when it refuses the job.
BUSY = re.compile(
    "timed out|unable to contact|connection refused|temporarily|zero bytes|standby mode"
    "|communication connection failure|unexpected message",
    re.IGNORECASE,
)
BUSY_WAITS_S = (1, 2, 4, 8, 15, 30, 60, 60, 60, 60)
SBATCH_S = 120.0
LEAVE_S = 8.0
"""Seconds in which cancelled jobs should have left Slurm's list."""


def say(text: str) -> None:
    """Print a line for the user."""
    print(f"slurm.py: {text}", file=sys.stderr, flush=True)


def state_folder(call: Call) -> Path:
    """Make the folder in which a call's jobs leave their exit codes: beside the log.

    Raises:
        ValueError: It cannot be made.
    """
    folder = Path(call.log).absolute().parent
    while call.variable and call.variable in folder.name:
        folder = folder.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".slurm.", dir=folder))
    except OSError as error:
        raise ValueError(
            f"cannot write log and script of the jobs: {in_words(error, folder)}"
        ) from None


def array_words(numbers: list[int], limit: int | None) -> str:
    """Return sbatch's list of places, such as 1-3,7, with at most `limit` of them at a time."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    text = ",".join(f"{a}-{b}" if a < b else str(a) for a, b in spans)
    return text + (f"%{limit}" if limit else "")


def job_name(call: Call) -> str:
    """Return the name of the jobs in Slurm's list: the log's, with its folder's."""
    log = Path(call.log).absolute()
    return re.sub(r"[^\w.+-]+", "_", f"{log.parent.name}.{log.stem}").strip("_.") or "job"


class Submitter:
    """Submits the jobs of a call, and cancels those that it has submitted."""

    def __init__(self, call: Call, state: Path) -> None:
        conf = read_configuration(call.options.get("config"))
        self.words = sbatch_words(conf, call.options) + call.dashed
        check_words(self.words, conf.source)
        check_site()
        # Before the configuration's words, which may give another name.
        own = ["--parsable", f"--job-name={job_name(call)}"]
        self.words[1:1] = [*own, "--requeue", f"--signal=B:USR1@{NOTICE_S}"]
        self.call, self.state = call, state
        self.submissions: list[Submission] = []
        self.doubtful: Path | None = None  # a script of which it is not known whether it was taken

    def submit(self, jobs: list[Job]) -> list[Submission]:
        """Submit the jobs, in as few arrays as Slurm allows.

        Raises:
            ValueError: Slurm refuses them.
        """
        for job in jobs:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            (self.state / f"{job.number}.code").unlink(missing_ok=True)
        if not self.call.variable:
            return [self._submit_one("1", [], {"": jobs[0]})]
        size = largest_array()
        parts: dict[int, dict[str, Job]] = {}  # by what is added to a place to give the number
        for job in jobs:
            offset = (job.number - 1) // size * size
            parts.setdefault(offset, {})[str(job.number - offset)] = job
        limit = self.call.number("max_jobs_run")
        # Arrays do not know each other: each may run its share of the limit.
        limit = max(1, limit // len(parts)) if limit else None
        return [
            self._submit_one(
                f"$((SLURM_ARRAY_TASK_ID + {offset}))",
                ["--array", array_words([int(place) for place in part], limit)],
                part,
            )
            for offset, part in parts.items()
        ]

    def _submit_one(self, number: str, words: list[str], jobs: dict[str, Job]) -> Submission:
        attempt = next(iter(jobs.values())).attempt
        script = self.state / f"script-{len(self.submissions)}.sh"
        text = job_script(self.call, number, attempt, self.state)
        script.write_text(text, encoding="utf-8", errors="surrogateescape")
        # The script keeps its output itself: Slurm would replace a % in the path.
        self._sbatch([*self.words, *words, "--output=/dev/null", str(script)], script, jobs)
        submission = self.submissions[-1]
        for place, job in jobs.items():
            job.name = f"{submission.id}_{place}" if place else submission.id
        return submission

    def _sbatch(self, command: list[str], script: Path, jobs: dict[str, Job]) -> None:
        """Add what sbatch submits to `submissions`; wait where the controller is busy."""
        taken: list[str] | None = []
        for wait in (*BUSY_WAITS_S, None):
            if taken is not None:  # else the job may be there: two would do the same
                said = self._try(command, script, jobs)
                if not said:
                    break
            busy = wait is not None and BUSY.search(said) is not None
            if busy:
                say(f"sbatch: {said}; again in {wait} s")
                time.sleep(wait or 0)
            # It may have taken the job all the same: then the job is in the list.
            taken = find_script(script)
            if taken:
                self.submissions.append(Submission(taken[0], "", jobs))
                break
            if not busy:
                raise ValueError(refused(said, taken is None, command))
        if self.doubtful:  # attempts that Slurm was late to know
            others = set(find_script(script) or []) - {self.submissions[-1].id}
            cancel(sorted(others), "")
            self.doubtful = None

    def _try(self, command: list[str], script: Path, jobs: dict[str, Job]) -> str:
        """Add what sbatch submits to `submissions`; return what it says if that is no id."""
        with not_stopped():  # a job whose id is lost could not be cancelled
            code, output, errors = run_sbatch(command)
            if found := read_id(output):
                self.submissions.append(Submission(*found, jobs))
                return ""
            self.doubtful = script
        return " ".join((errors or output).split()) or f"nothing, with code {code}"

    def _find_doubtful(self, script: Path) -> None:
        """Add what Slurm took without sbatch's saying so."""
        for _ in range(4):
            ids = find_script(script)
            if ids is not None:
                known = {one.id for one in self.submissions}
                self.submissions += [Submission(id, "", {}) for id in ids if id not in known]
                return
            time.sleep(1.0)
        say(
            f"Slurm may have taken a job, and squeue does not say: look for '{job_name(self.call)}'"
        )

    def notify(self) -> None:
        """Pass SIGUSR1 on: it asks trainings to save their states, and go on later."""
        for one in list(self.submissions):
            notify(one.id, one.cluster)

    def cancel(self) -> None:
        """Cancel all jobs that may still run, and wait a little until Slurm has ended them."""
        if self.doubtful:
            self._find_doubtful(self.doubtful)
        for cluster in {one.cluster for one in self.submissions}:
            ids = [one.id for one in self.submissions if one.cluster == cluster]
            for _ in range(3):
                error = cancel(ids, cluster)
                if not error or "Invalid job id" in error:
                    break
                time.sleep(1.0)
            left = wait_until_gone(ids, cluster, LEAVE_S)
            if left:
                say(f"not ended yet: {', '.join(left)}; see squeue, scancel {' '.join(left)}")


def run_sbatch(command: list[str]) -> tuple[int, str, str]:
    """Return sbatch's code, output and errors.

    Raises:
        ValueError: It cannot be run.
    """
    own_session = {"start_new_session": True, "preexec_fn": unblock}
    code, output, errors = ask(*command, seconds=SBATCH_S, **own_session)
    if code == NOT_THERE:
        raise ValueError(
            f"cannot run {errors.strip()}: is this a host of the cluster? "
            "--cluster local runs jobs on this machine"
        )
    return code, output, errors


def read_id(output: str) -> tuple[str, str] | None:
    """Return the id and cluster in sbatch's output, whatever a site's plug-ins print beside it."""
    pattern = r"^(?:Submitted batch job )?(\d+)(?:;(\S+)| on cluster (\S+))?\s*$"
    found = re.findall(pattern, output, re.MULTILINE)
    return (found[-1][0], found[-1][1] or found[-1][2]) if found else None


def refused(said: str, unknown: bool, command: list[str]) -> str:
    """Return the error that a job could not be submitted.

    Args:
        said: What sbatch said.
        unknown: Whether squeue did not say if the job was taken all the same.
        command: What was called.
    """
    text = f"sbatch did not take the job; it says: {said}"
    if unknown:
        text += ". Nor does squeue answer: look for the job there, and scancel it, before you go on"
    if names := sorted(name for name in environment() if name.startswith("SBATCH_")):
        text += f". Your environment has a say, too: {', '.join(names)}"
    return f"{text}\n  {shlex.join(command)}"


def find_script(script: Path) -> list[str] | None:
    """Return the ids of jobs that were submitted with a script; None where squeue says nothing."""
    code, listed, _ = ask("squeue", "-h", "-t", "all", "--me", "-o", "%F|%o")
    if code != 0:
        return None
    # A path may have newlines.
    entries = re.findall(r"^(\d+)\|(.*?)(?=^\d+\||\Z)", listed, re.MULTILINE | re.DOTALL)
    return list(dict.fromkeys(id for id, name in entries if name.strip() == str(script)))


def wait_until_gone(ids: list[str], cluster: str, seconds: float) -> list[str]:
    """Return the ids of jobs that have not ended after so many seconds."""
    left, deadline = list(ids), time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        question = Question(left, cluster)
        while not question.answered() and time.monotonic() < deadline:
            time.sleep(0.02)
        if not question.answered():
            break
        entries, _ = question.answer()
        if entries is not None:
            running = {id for (id, _), one in entries.items() if one.state not in (*ENDS, WELL)}
            left = [id for id in left if id in running]
        if left:
            time.sleep(0.3)
    return left


def run_jobs(submitter: Submitter, jobs: list[Job]) -> None:
    """Submit the jobs and wait for them.

    Raises:
        ValueError: Slurm refuses them.
    """
    submissions = submitter.submit(jobs)
    say(f"job {', '.join(one.id for one in submissions)} of Slurm; log: {submitter.call.log}")
    Watch(submissions, submitter.state, say).run()


def main(argv: list[str]) -> int:
    """Run the jobs; return the exit code."""
    call = read_call("slurm.py", __doc__ or "", argv)
    die_with_parent()
    raise_when_stopped()
    jobs, state, submitter = make_jobs(call), None, None
    try:
        state = state_folder(call)
        submitter = Submitter(call, state)
        run = submitter
        signal.signal(signal.SIGUSR1, lambda *_: run.notify())
        retries = call.number("retry") or 0
        run_attempts("slurm.py", jobs, retries, lambda some: run_jobs(run, some))
        return report("slurm.py", jobs)
    except (ValueError, OSError) as error:
        if submitter is not None:
            submitter.cancel()
        place = state or Path(call.log)
        say(f"error: {in_words(error, place) if isinstance(error, OSError) else error}")
        return 1
    except Stopped as stopped:
        if submitter is not None:
            submitter.cancel()
        say(f"stopped by {stopped}; its jobs are cancelled")
        saved = state is not None and SAVED in read_codes(state).values()
        return SAVED if saved else stopped.code
    finally:
        if state is not None:
            shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
