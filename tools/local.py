#!/usr/bin/env python3
"""Runs jobs on this machine, with the contract of Kaldi's run.pl.

    local.py [option...] [JOB=FIRST:LAST] LOG COMMAND [ARGUMENT...]

    --gpu N             GPUs of each job (default 0)
    --num_threads N     threads of each job (default 1)
    --mem 4G            memory of each job: no more run at once than fit; a number alone is in MiB
    --max_jobs_run N    jobs at once (default: what the cores do); also --max_jobs
    --retry N           attempts more for each job that fails (default 0)

Other options, which mean something to a cluster only (--time, --config, -q, ...), are ignored with
their values. The command runs once for each number of the range, with JOB replaced by the number in
its arguments and in the name of the log. Standard output and error go to the log, between a header
and a footer. Arguments reach the command as they are: no shell reads them again. The exit code is
0 only if every job's was. SIGUSR1 is passed on to jobs that handle it; jobs that are stopped have a
minute to save their state, and say so by exit code 75, which is then this program's, too.
"""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TextIO

from launch import Call, Job, make_jobs, parse_memory, read_call, report, run_attempts
from process import (
    SAVE_S,
    SAVED,
    Stopped,
    die_with_parent,
    pass_on_usr1,
    raise_when_stopped,
    start,
    stop,
)
from trouble import in_words

POLL_S = 0.02


@dataclass
class Running:
    """A job that runs: its process (None where it could not start), GPUs and start (seconds)."""

    job: Job
    gpus: tuple[str, ...]
    started: float
    process: subprocess.Popen | None = None


def visible_gpus() -> list[str]:
    """Return the ids of the GPUs: those of CUDA_VISIBLE_DEVICES where it is set, else all."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [gpu for gpu in given.split(",") if gpu]
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):  # also of a driver that hangs
        return []
    return [str(i) for i, _ in enumerate(re.findall(r"^GPU \d+", listing.stdout, re.MULTILINE))]


def gpu_groups(per_job: int) -> list[tuple[str, ...]]:
    """Return disjoint groups of `per_job` GPUs, one for each job that may run at once.

    Raises:
        ValueError: There are fewer GPUs than one job wants.
    """
    gpus = visible_gpus()
    if len(gpus) < per_job:
        raise ValueError(f"each job wants {per_job} GPUs, this machine shows {len(gpus)}")
    starts = range(0, len(gpus) - per_job + 1, per_job)
    return [tuple(gpus[i : i + per_job]) for i in starts]


def jobs_at_once(call: Call, n_groups: int | None) -> int:
    """Return how many jobs may run at the same time."""
    limit = call.number("max_jobs_run")
    if limit is None:
        limit = max(1, len(os.sched_getaffinity(0)) // (call.number("num_threads") or 1))
    if per_job := parse_memory(call.options.get("mem", "0")):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        limit = min(limit, max(1, memory // per_job))
    return limit if n_groups is None else min(limit, n_groups)


def now() -> str:
    """Return the local date and time, for logs."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def start_job(job: Job, gpus: tuple[str, ...], num_threads: int) -> Running:
    """Write the log's header and start the job; one that cannot start has exit code 127."""
    running = Running(job, gpus, started=time.monotonic())
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(num_threads)
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    host = f"{socket.gethostname()}, {num_threads} threads"
    if gpus:
        host += f", GPU {','.join(gpus)}"
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("w" if job.attempt == 1 else "a", encoding="utf-8") as log:
            log.write(f"# {shlex.join(job.command)}\n# Started at {now()} on {host}\n#\n")
            log.flush()
            start_process(running, environment, log)
    except OSError as error:
        job.reason = f"cannot write its log: {in_words(error, job.log)}"
    if running.process is None:
        end_job(running, 127)
    return running


def start_process(running: Running, environment: dict[str, str], log: TextIO) -> None:
    """Start a job's process, or note as the job's reason why that is not possible."""
    command = running.job.command
    try:
        running.process = start(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    except OSError as error:
        running.job.reason = f"cannot run {command[0]}: {error.strerror}"


def end_job(running: Running, code: int) -> None:
    """Note a job's exit code (128 + signal for one that a signal ended) and close its log."""
    job = running.job
    job.code = code if code >= 0 else 128 - code
    seconds = time.monotonic() - running.started
    try:
        with job.log.open("a", encoding="utf-8") as log:
            if job.reason:
                log.write(f"{job.reason}\n")
            ended = f"# Ended (code {job.code}) at {now()}, elapsed time {seconds:.1f} seconds"
            log.write(f"#\n{ended}\n")
    except OSError as error:  # a full disk does not make a job fail that ended well
        print(f"local.py: cannot write: {in_words(error, job.log)}", file=sys.stderr)


def run_jobs(jobs: list[Job], limit: int, groups: list[tuple[str, ...]], num_threads: int) -> None:
    """Run all jobs, at most `limit` at a time; when told to stop, end those that run.

    Raises:
        Stopped: The launcher was told to stop.
    """
    waiting, free = list(jobs), list(groups)
    under_way: list[Running] = []
    pass_on_usr1(lambda: [one.process for one in under_way if one.process])
    try:
        while waiting or under_way:
            while waiting and len(under_way) < limit:
                gpus = free.pop(0) if groups else ()
                under_way.append(start_job(waiting.pop(0), gpus, num_threads))
            for running in list(under_way):
                if running.process is not None:
                    code = running.process.poll()
                    if code is None:
                        continue
                    end_job(running, code)
                under_way.remove(running)
                if groups:
                    free.append(running.gpus)
            time.sleep(POLL_S)
    except Stopped:
        started = [(running, running.process) for running in under_way if running.process]
        stop((process for _, process in started), SAVE_S)
        for running, process in started:
            end_job(running, process.returncode)
        raise


def main(argv: list[str]) -> int:
    """Run the jobs; return the exit code."""
    call = read_call("local.py", __doc__ or "", argv)
    die_with_parent()
    raise_when_stopped()
    jobs, n_gpus = make_jobs(call), call.number("gpu") or 0
    num_threads = call.number("num_threads") or 1
    try:
        groups = gpu_groups(n_gpus) if n_gpus else []
        limit = jobs_at_once(call, len(groups) if n_gpus else None)
        run_attempts(
            "local.py",
            jobs,
            call.number("retry") or 0,
            lambda some: run_jobs(some, limit, groups, num_threads),
        )
    except ValueError as error:
        print(f"local.py: error: {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        print(f"local.py: stopped by {stopped}; its jobs are ended", file=sys.stderr)
        return SAVED if any(job.code == SAVED for job in jobs) else stopped.code
    return report("local.py", jobs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
