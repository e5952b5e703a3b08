"""The fake cluster (fake_slurm.py) in a folder of its own, and slurm.py in it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent


class Cluster:
    """A fake cluster of its own in a folder, and the launcher in it."""

    def __init__(self, root: Path, folder: Path, **plan) -> None:
        self.root, self.folder = root, folder
        self.work = folder / "work; it's 100%a"
        self.home, tools = folder / "cluster", folder / "bin"
        for new in (self.work, self.home, tools):
            new.mkdir(parents=True)
        (self.home / "plan.json").write_text(json.dumps(plan))
        for name in ("sbatch", "squeue", "scancel", "sacct", "scontrol", "srun"):
            program = tools / name
            code = (HERE / "fake_slurm.py").read_text()
            program.write_text(f"#!{sys.executable} -S\n{code}")
            program.chmod(0o755)
        self.environment = {
            **os.environ,
            "FAKE_SLURM": str(self.home),
            "PATH": f"{tools}:{os.environ['PATH']}",
            "SLURM_ARRAY_TASK_ID": "77",  # as if it ran in a job itself
        }

    def start(self, *words: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, self.root / "tools" / "slurm.py", *words],
            cwd=self.work,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        process = self.start(*words)
        errors = process.communicate(timeout=120)[1]
        assert "Traceback" not in errors, errors
        return process.returncode, errors

    def states(self) -> list[str]:
        jobs = self.home / "jobs"
        return [json.loads(p.read_text())["state"] for p in sorted(jobs.iterdir())]

    def submitted(self) -> list[list[str]]:
        path = self.home / "submitted"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def wait_for(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not what():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def begun(self, *logs: str) -> bool:
        paths = [self.work / log for log in logs]
        return all(p.exists() and "begun" in p.read_text().split() for p in paths)
