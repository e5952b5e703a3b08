#!/usr/bin/env python3
"""Runs jobs on this machine, with the contract of Kaldi's run.pl.

    local.py [options] [JOB=FIRST:LAST] LOG COMMAND [ARGUMENT...]

The command runs once for each number of the range, with JOB replaced by the number in its
arguments and in the name of the log. Standard output and error go to the log, between a header
and a footer. Arguments reach the command as they are: no shell reads them again. The exit code is
0 only if every job's was.
"""

import argparse
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from process import Stopped, die_with_parent, raise_when_stopped, start, stop

POLL_S = 0.02
TAIL_LINES = 20
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass
class Job:
    """One job: its command and log, and while it runs its process, GPUs and start (seconds)."""

    command: list[str]
    log: Path
    number: int
    process: subprocess.Popen | None = None
    gpus: tuple[str, ...] = ()
    started: float = 0.0
    code: int | None = None


def parse_memory(text: str) -> int:
    """Return the bytes of an amount such as 500M or 4G."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])i?B?", text, re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is not an amount of memory such as 500M or 4G")
    return int(float(match[1]) * UNITS[match[2].upper()])


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Return the options, the range of jobs, the log and the command."""
    parser = argparse.ArgumentParser(
        prog="local.py",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--gpu", type=int, default=0, help="GPUs of each job (default 0)")
    add("--mem", type=parse_memory, help="memory of each job, such as 4G: no more run than fit")
    add("--num_threads", "--num-threads", type=int, default=1, help="threads of each job")
    add("--max_jobs", "--max-jobs-run", type=int, help="jobs at once (default: what the cores do)")
    add("rest", nargs=argparse.REMAINDER, metavar="[JOB=FIRST:LAST] LOG COMMAND [ARGUMENT...]")
    args = parser.parse_args(argv)
    if args.gpu < 0 or args.num_threads < 1 or (args.max_jobs is not None and args.max_jobs < 1):
        parser.error("--gpu takes 0 or more, --num_threads and --max_jobs 1 or more")
    first = args.rest[0] if args.rest else ""
    args.variable, args.first, args.last = "", 1, 1
    if match := re.fullmatch(r"([A-Za-z_]\w*)=(\d+)(?::(\d+))?", first):
        args.variable, args.first = match[1], int(match[2])
        args.last = int(match[3] or match[2])
        args.rest = args.rest[1:]
        if args.last < args.first:
            parser.error(f"the range {first} is empty")
    elif "=" in first:
        parser.error(f"'{first}' is not a range such as JOB=1:8")
    if len(args.rest) < 2:
        parser.error("a log and a command are wanted")
    if args.last > args.first and args.variable not in args.rest[0]:
        parser.error(f"the log '{args.rest[0]}' has no {args.variable}: all jobs would share it")
    return args


def make_jobs(args: argparse.Namespace) -> list[Job]:
    """Return the jobs with their number filled in."""
    jobs = []
    for number in range(args.first, args.last + 1):
        words = args.rest
        if args.variable:
            words = [word.replace(args.variable, str(number)) for word in words]
        jobs.append(Job(command=words[1:], log=Path(words[0]), number=number))
    return jobs


def visible_gpus() -> list[str]:
    """Return the ids of the GPUs: those of CUDA_VISIBLE_DEVICES where it is set, else all."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [gpu for gpu in given.split(",") if gpu]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(i) for i, _ in enumerate(re.findall(r"^GPU \d+", listing.stdout, re.MULTILINE))]


def gpu_groups(per_job: int) -> list[tuple[str, ...]]:
    """Return disjoint groups of `per_job` GPUs, one for each job that may run at once."""
    gpus = visible_gpus()
    if len(gpus) < per_job:
        raise ValueError(f"each job wants {per_job} GPUs, this machine shows {len(gpus)}")
    starts = range(0, len(gpus) - per_job + 1, per_job)
    return [tuple(gpus[i : i + per_job]) for i in starts]


def jobs_at_once(args: argparse.Namespace, n_groups: int | None) -> int:
    """Return how many jobs may run at the same time."""
    limit = args.max_jobs
    if limit is None:
        limit = max(1, len(os.sched_getaffinity(0)) // args.num_threads)
    if args.mem:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        limit = min(limit, max(1, memory // args.mem))
    return limit if n_groups is None else min(limit, n_groups)


def now() -> str:
    """Return the local date and time, for logs."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def start_job(job: Job, num_threads: int) -> None:
    """Write the log's header and start the job; one that cannot start has exit code 127."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(num_threads)
    if job.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(job.gpus)
    job.started = time.monotonic()
    with job.log.open("w", encoding="utf-8") as log:
        gpus = f", GPU {','.join(job.gpus)}" if job.gpus else ""
        host = f"{socket.gethostname()}, {num_threads} threads{gpus}"
        log.write(f"# {shlex.join(job.command)}\n# Started at {now()} on {host}\n#\n")
        log.flush()
        try:
            job.process = start(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        except OSError as error:
            log.write(f"cannot run {job.command[0]}: {error.strerror}\n")
    if job.process is None:
        end_job(job, 127)


def end_job(job: Job, code: int) -> None:
    """Note a job's exit code (128 + signal for one that a signal ended) and close its log."""
    job.code = code if code >= 0 else 128 - code
    seconds = time.monotonic() - job.started
    with job.log.open("a", encoding="utf-8") as log:
        log.write(f"#\n# Ended (code {job.code}) at {now()}, elapsed time {seconds:.1f} seconds\n")


def run_jobs(jobs: list[Job], limit: int, groups: list[tuple[str, ...]], num_threads: int) -> None:
    """Run all jobs, at most `limit` at a time; when told to stop, end those that run."""
    waiting, free = list(jobs), list(groups)
    running: list[Job] = []
    try:
        while waiting or running:
            while waiting and len(running) < limit:
                job = waiting.pop(0)
                job.gpus = free.pop(0) if groups else ()
                start_job(job, num_threads)
                running.append(job)
            for job in list(running):
                code = job.process.poll() if job.process else job.code
                if code is None:
                    continue
                if job.process:
                    end_job(job, code)
                running.remove(job)
                if groups:
                    free.append(job.gpus)
            time.sleep(POLL_S)
    except Stopped:
        stop(job.process for job in running if job.process)
        for job in running:
            if job.process:
                end_job(job, job.process.returncode)
        raise


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16384))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])


def report(jobs: list[Job]) -> int:
    """Say which jobs failed, with the end of the first one's log; return the exit code."""
    failed = [job for job in jobs if job.code != 0]
    if not failed:
        return 0
    numbers = ", ".join(str(job.number) for job in failed[:20])
    if len(failed) > 20:
        numbers += f" and {len(failed) - 20} more"
    first = failed[0]
    print(
        f"local.py: {len(failed)} of {len(jobs)} jobs failed: {numbers}\n"
        f"local.py: job {first.number} ended with code {first.code}; the end of {first.log}:\n"
        f"{tail(first.log)}",
        file=sys.stderr,
    )
    return 1


def main(argv: list[str]) -> int:
    """Run the jobs; return the exit code."""
    args = parse_arguments(argv)
    die_with_parent()
    raise_when_stopped()
    jobs = make_jobs(args)
    try:
        groups = gpu_groups(args.gpu) if args.gpu else []
        limit = jobs_at_once(args, len(groups) if args.gpu else None)
        run_jobs(jobs, limit, groups, args.num_threads)
    except ValueError as error:
        print(f"local.py: error: {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        print(f"local.py: stopped by {stopped}; its jobs are ended", file=sys.stderr)
        return stopped.code
    return report(jobs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
