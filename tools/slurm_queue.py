"""Questions to Slurm: what runs, what has ended and why; with and without its accounting."""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

ANSWER_S = 60.0
"""No command of Slurm is waited for longer than this."""
SILENT_S = 10.0
"""Seconds after which a command that has not answered is named."""
NOT_THERE = 127
"""Exit code of a command that cannot be started, as a shell has it."""

ENDS = {
    "BOOT_FAIL": "did not start: its node could not boot",
    "CANCELLED": "was cancelled",
    "DEADLINE": "was ended at its deadline",
    "FAILED": "failed",
    "LAUNCH_FAILED": "could not be launched on its node",
    "NODE_FAIL": "was lost with its node",
    "OUT_OF_MEMORY": "used more memory than it was given; give more with --mem",
    "PREEMPTED": "was preempted",
    "REVOKED": "was revoked by another cluster",
    "TIMEOUT": "came to its time limit; give more with --time",
}
"""States in which a job has ended badly, and what they mean."""
WELL = "COMPLETED"
QUEUED = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "CONFIGURING")

# Reasons to wait that no waiting ends. (PartitionNodeLimit may only mean that nodes are down.)
NEVER = re.compile(
    r"BadConstraints|Partition(TimeLimit|Config)|DependencyNeverSatisfied|Invalid(Account|QOS)"
    r"|(Account|QOS)NotAllowed|(Assoc|QOS)Max\w*Per(Job|Node)\w*|QOSMin\w*|JobHoldMaxRequeue"
    r"|launch[ _]failed[ _]requeued[ _]held|ReservationDeleted"
)
USUAL = re.compile(r"|None|Priority|Resources|JobArrayTaskLimit|Prolog|Cleaning|BeginTime|N/A")
"""Reasons to wait that need not be told."""


@dataclass(frozen=True)
class Entry:
    """A job in Slurm's list: its state, why it waits, and its nodes."""

    state: str
    reason: str = ""
    nodes: str = ""


def environment() -> dict[str, str]:
    """Return the environment without what would make Slurm's commands answer otherwise.

    SLURM_* of a job in which the launcher itself runs would reach its jobs, CUDA's devices are
    those of this host, and jobs are no processes of the step (owner.py). A single job must not
    become an array, nor sbatch wait for its end, whatever the user's SBATCH_* say.
    """
    removed = ("SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_", "SPEECHLM_STEP", "SPEECHLM_OWNER")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    if os.environ.get("SLURM_CONF"):
        kept["SLURM_CONF"] = os.environ["SLURM_CONF"]
    for name in ("CUDA_VISIBLE_DEVICES", "SBATCH_ARRAY_INX", "SBATCH_WAIT"):
        kept.pop(name, None)
    return kept


def check_site() -> None:
    """Stop where SLURM_CONF names no file: each of Slurm's commands would try for a minute.

    Raises:
        ValueError: That is so.
    """
    path = os.environ.get("SLURM_CONF")
    if path and not os.path.isfile(path):
        raise ValueError(
            f"the variable SLURM_CONF names {path}, which is no file; "
            "unset it, or give the configuration of the cluster"
        )


def ask(*words: str, seconds: float = ANSWER_S, **options: Any) -> tuple[int, str, str]:
    """Return exit code, output and errors of one of Slurm's commands.

    Args:
        words: The command.
        seconds: After these it is given up: code 124.
        options: Further ones of subprocess.

    Returns:
        Code `NOT_THERE` where the command cannot be started.
    """
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        process = subprocess.Popen(
            words, env=environment(), stdin=subprocess.DEVNULL, errors="replace", **pipes, **options
        )
    except OSError as error:
        return NOT_THERE, "", f"{words[0]}: {error.strerror}"
    with process:
        try:
            output, errors = _hear(process, words[0], seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return 124, "", f"{words[0]} timed out after {seconds:.0f} s"
        except BaseException:
            process.kill()
            raise
    return process.returncode, output, errors


def _hear(process: subprocess.Popen, name: str, seconds: float) -> tuple[str, str]:
    """Return a command's output and errors; say what is waited for where that takes long."""
    try:
        return process.communicate(timeout=min(SILENT_S, seconds))
    except subprocess.TimeoutExpired:
        if seconds <= SILENT_S:
            raise
    print(
        f"slurm.py: {name} has not answered for {SILENT_S:.0f} s, and is waited for, up to "
        f"{seconds:.0f} s; 'scontrol ping' says whether Slurm's controller is there",
        file=sys.stderr,
        flush=True,
    )
    return process.communicate(timeout=seconds - SILENT_S)


class Question:
    """A call of squeue that is under way, so that a slow one keeps nothing from being seen."""

    def __init__(self, ids: list[str], cluster: str) -> None:
        self.ids = ids
        self.out = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `answer`)
        self.err = tempfile.TemporaryFile()  # noqa: SIM115
        words = ["squeue", *on(cluster), "-h", "-r", "-t", "all", "-j", ",".join(ids)]
        self.process = subprocess.Popen(
            ["timeout", "--kill-after=1", str(int(ANSWER_S)), *words, "-o", "%F|%K|%T|%r|%N"],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=self.out,
            stderr=self.err,
        )

    def answered(self) -> bool:
        """Whether squeue has ended."""
        return self.process.poll() is not None

    def answer(self) -> tuple[dict[tuple[str, str], Entry] | None, str]:
        """Return the entries by job and place in its array ("" where it is none), or an error.

        An answer without lines means that Slurm knows none of the jobs (any longer), and so does
        its complaint about an invalid id, which it makes when only one was asked for.
        """
        texts = []
        for file in (self.out, self.err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        entries, strange = parse_entries(texts[0])
        if self.process.returncode != 0 and "Invalid job id" in texts[1]:
            return {}, ""
        if self.process.returncode != 0 or strange:
            said = " ".join((texts[1] or strange).split())[:200]
            return None, said or f"squeue ended with code {self.process.returncode}"
        return entries, ""


def parse_entries(text: str) -> tuple[dict[tuple[str, str], Entry], str]:
    """Return the entries in squeue's output, and the first line that is none ("" if all are)."""
    entries, strange = {}, ""
    for line in text.splitlines():
        match = re.fullmatch(r"(\d+)\|(\d+|N/A)\|([A-Z_]+)\|(.*)\|(.*)", line.strip())
        if match:
            index = "" if match[2] == "N/A" else match[2]
            entries[match[1], index] = Entry(match[3], match[4], match[5])
        elif line.strip() and not line.startswith("CLUSTER:"):
            strange = strange or line
    return entries, strange


def on(cluster: str) -> list[str]:
    """Return the words that name a cluster, none for the host's own."""
    return ["-M", cluster] if cluster else []


def accounted(ids: list[str], cluster: str) -> dict[tuple[str, str], Entry]:
    """Return what the accounting knows of jobs that ended; nothing where there is none."""
    words = ["sacct", *on(cluster), "-n", "-X", "-P", "-j", ",".join(ids)]
    code, output, _ = ask(*words, "-o", "JobID,State,NodeList")
    entries = {}
    if code == 0:
        for line in output.splitlines():
            # "CANCELLED by 1000" names the user's number.
            match = re.fullmatch(r"(\d+)(?:_(\d+))?\|([A-Z_]+)[^|]*\|(.*)", line.strip())
            if match:
                entries[match[1], match[2] or ""] = Entry(match[3], "", match[4])
    return entries


def cancel(ids: list[str], cluster: str) -> str:
    """Cancel the jobs; return what scancel complained of ("" if nothing)."""
    if not ids:
        return ""
    code, _, errors = ask("scancel", *on(cluster), *ids)
    return "" if code == 0 else errors.strip() or f"scancel ended with code {code}"


def notify(id: str, cluster: str) -> None:
    """Send SIGUSR1 to the scripts of a job that run."""
    ask("scancel", *on(cluster), "--signal=USR1", "--batch", id)


def largest_array() -> int:
    """Return how many jobs, numbered from 1, fit an array (MaxArraySize, 1001, counts from 0)."""
    _, output, _ = ask("scontrol", "show", "config")
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", output, re.MULTILINE)
    largest = int(match[1]) - 1 if match else 1000
    if match := re.search(r"\bmax_array_tasks=(\d+)", output):
        largest = min(largest, int(match[1]))
    return max(1, largest)
