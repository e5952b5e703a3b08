"""A small copy of egs/mini that runs from its first stage to its last, and what it made."""

import hashlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROC = Path("/proc")
MARK = "FAULT_CAMPAIGN"
"""The variable by which the processes of a run are found, whoever their parents are by then."""

SMALL = {
    "--systems": "speech_text hidden_text",
    "--data_opts": "--paired 120 --unpaired 80 --dev 15 --test 20 --text 3000"
    " --speakers 2,2,1,1 --min_snr 35 --max_snr 40",
    "--phone_model_args": "--max_epoch 5 --batch_bins 40000",
    "--text_to_unit_args": "--max_epoch 2",
    "--pretrain_args": "--max_epoch 3 --num_iters_per_epoch 40 --batch_samples 110000"
    " --checkpoint_minutes 0.05",
    "--finetune_args": "--max_epoch 3 --num_iters_per_epoch 40 --batch_bins 160000",
    "--lm_args": "--max_epoch 2 --num_iters_per_epoch 40",
    "--kept_results": "",
}
"""Options of ./run.sh: all stages within about two minutes on two cores."""

RESULTS = ("scores.json", "text", "model.safetensors", "lm.arpa", "kmeans.npz")
"""Names of the files that must be the same after every fault, to the byte, but for times."""
TIME = re.compile(rb'"search_seconds": [0-9.e+-]+')
"""What scores say of how long the search took."""


EXPLAINED = re.compile(r"\berror:|\bstopped\b|\bkilled\b|\bwaits\b|\bfailed with code\b", re.I)
"""How run.sh says why it has ended; its tables of error rates say nothing of that."""


class Recipe:
    """A copy of the recipe in a folder, which may be on a disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "egs" / "mini"
        self.folder.parent.mkdir(parents=True)
        for name in (".venv", "speechlm", "tools"):
            (folder / name).symlink_to(ROOT / name)
        for recipe in (ROOT / "egs").iterdir():
            if recipe.name != "mini":
                (self.folder.parent / recipe.name).symlink_to(recipe)
        made = shutil.ignore_patterns("data", "dump", "exp")
        shutil.copytree(ROOT / "egs" / "mini", self.folder, ignore=made)

    def start(self, **environment: str) -> "Run":
        """Start ./run.sh, with further variables in its environment."""
        return Run(self.folder, environment)

    def results(self) -> dict[str, str]:
        """Return the digests of the results, by their paths in the recipe."""
        found = {}
        for path in sorted(self.folder.glob("exp/**/*")):
            if path.name in RESULTS and path.is_file():
                name = str(path.relative_to(self.folder))
                found[name] = hashlib.sha256(TIME.sub(b"", path.read_bytes())).hexdigest()
        return found


class Run:
    """A run of ./run.sh: what it says, the stage that it has come to, and its processes."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.mark = secrets.token_hex(8)
        self.begun = time.monotonic()
        self.stages: dict[int, float] = {}  # when each has begun, in seconds after the start
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            ["./run.sh", *(word for pair in SMALL.items() for word in pair)],
            cwd=folder,
            env={**os.environ, MARK: self.mark, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            self.lines.append(line.rstrip("\n"))
            if match := re.match(r"== stage (\d+):", line):
                self.stages[int(match[1])] = time.monotonic() - self.begun

    @property
    def stage(self) -> int:
        """The stage that it has come to."""
        return max(self.stages, default=1)

    def ended(self) -> bool:
        """Whether run.sh has ended."""
        return self.process.poll() is not None

    def wait_for_stage(self, stage: int) -> None:
        """Wait until it has come to a stage, or has ended."""
        while stage not in self.stages and not self.ended():
            time.sleep(0.02)

    def wait_for_step(self, words: str, seconds: float = 600.0) -> bool:
        """Wait until it says so, or has ended; return whether it said so."""
        deadline = time.monotonic() + seconds
        while not self.ended() and time.monotonic() < deadline:
            if any(words in line for line in self.lines):
                return True
            time.sleep(0.02)
        return any(words in line for line in self.lines)

    def wait(self, seconds: float) -> int | None:
        """Return run.sh's exit code, or None where it has not ended after so many seconds."""
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(timeout=5.0)
        return code

    def processes(self) -> list[int]:
        """Return the numbers of all processes of this run that have not ended."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for path in PROC.glob("[0-9]*"):
            try:
                words = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if words[0] not in "ZX" and wanted in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
            except OSError:
                continue
        return found

    def wait_until_gone(self, seconds: float) -> float | None:
        """Return after how many seconds none of its processes was left; None if some still are."""
        begun = time.monotonic()
        while self.processes():
            if time.monotonic() > begun + seconds:
                return None
            time.sleep(0.1)
        return time.monotonic() - begun

    def end(self, seconds: float = 0.0) -> int:
        """Wait so long for what is left, kill the rest; return how many processes that was."""
        if seconds:
            self.wait_until_gone(seconds)
        left = self.processes()
        for number in left:
            kill(number)
        self.process.wait()
        return len(left)

    def last_words(self) -> str:
        """Return the last error that it said, else its last line that is not empty."""
        lines = [line.strip() for line in self.lines if line.strip()]
        errors = [line for line in lines if "error:" in line]
        return (errors or lines or ["nothing"])[-1]

    def is_clear(self) -> bool:
        """Whether it says why it has ended, and without a trace of Python."""
        text = "\n".join(self.lines)
        return "Traceback" not in text and EXPLAINED.search(text) is not None


def kill(number: int, signum: int = signal.SIGKILL) -> None:
    """Send a signal to a process, which may have ended meanwhile."""
    try:
        os.kill(number, signum)
    except ProcessLookupError:
        pass
