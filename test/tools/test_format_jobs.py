"""The dump of a data directory as jobs of a (fake) Slurm cluster, through all scripts between."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechlm.data.kaldi_dir import DataDir

HERE = Path(__file__).parent
IDS = [f"s{n}-{n}" for n in range(5)]
BROKEN = IDS[3]
TABLES = ("report.tsv", "spk2utt", "utt2num_samples", "utt2spk", "wav.scp")


@pytest.fixture
def folder(tmp_path):
    """A folder with data of five recordings: two of another rate, one that is cut off."""
    audio = tmp_path / "corpus"
    audio.mkdir()
    for n, name in enumerate(IDS):
        samples = 0.5 * np.sin(np.arange(16000 + 1600 * n) / (5 + n))
        soundfile.write(audio / f"{name}.flac", samples, 8000 if n % 3 == 1 else 16000)
    content = (audio / f"{BROKEN}.flac").read_bytes()
    (audio / f"{BROKEN}.flac").write_bytes(content[: len(content) // 2])
    wav = {name: f"corpus/{name}.flac" for name in IDS}
    DataDir(wav, dict(zip(IDS, (name[:2] for name in IDS), strict=True))).write(tmp_path / "data")
    return tmp_path


@pytest.fixture
def make(root, folder):
    """Run the step with a launcher, on a cluster that behaves as planned."""
    cluster, programs = folder / "cluster", folder / "bin"
    for new in (cluster, programs):
        new.mkdir()
    code = (HERE / "fake_slurm.py").read_text()
    for name in ("sbatch", "squeue", "scancel", "sacct", "scontrol"):
        (programs / name).write_text(f"#!{sys.executable} -S\n{code}")
        (programs / name).chmod(0o755)
    python = Path(sys.executable).parent
    places = ":".join(map(str, (programs, root / "tools", python, os.environ["PATH"])))
    environment = {
        **os.environ,
        "FAKE_SLURM": str(cluster),
        "PATH": places,
        "PYTHONPATH": str(root),
    }

    def run(launcher: str, **plan) -> subprocess.CompletedProcess:
        (cluster / "plan.json").write_text(json.dumps(plan))
        (cluster / "submitted").unlink(missing_ok=True)
        command = ["python", "-m", "speechlm.bin.format_data", "--input", "data"]
        command += ["--output", "dump", "--max_bad_share", "0.5", "--nj", "3"]
        step = [sys.executable, root / "tools" / "step.py", "--name", "format", "--stage", "2"]
        step += ["--output", "dump", "--needs", "data", "--launcher", launcher, "--", *command]
        return subprocess.run(
            step, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
        )

    return run


def read_in(folder: Path, job: int) -> int:
    """How many files a job has read."""
    lines = (folder / "log" / f"dump.{job}.log").read_text().splitlines()
    (line,) = (line for line in lines if "files read in job" in line)
    return int(line.split(" files read")[0].split()[-1])


def test_a_dump_of_jobs_is_that_of_one_process_and_goes_on_where_it_failed(make, folder, root):
    script = root / "egs" / "TEMPLATE" / "in_parts.sh"
    launcher = f"'{script}' --nj 3 --cmd 'slurm.py --mem 1G' --ends slurm.py --log log/dump.log --"
    first = make(launcher, ends={"2": ["NODE_FAIL", "SIGKILL", 0]})
    assert first.returncode == 1 and "1 of 3 jobs failed: 2" in first.stderr, first.stderr
    assert not (folder / "dump" / "wav.scp").exists()
    assert [read_in(folder, job) for job in (1, 3)] == [2, 1]
    second = make(launcher)
    assert second.returncode == 0, second.stderr
    words = [
        json.loads(line) for line in (folder / "cluster" / "submitted").read_text().splitlines()
    ]
    assert [("1-3" in one, "--mem=1G" in one) for one in words] == [
        (False,) * 2,
        (True,) * 2,
        (False,) * 2,
    ]
    # The copy is looked at again, what is used in its place is not.
    assert [read_in(folder, job) for job in (1, 2, 3)] == [1, 2, 1]
    tables = {name: (folder / "dump" / name).read_bytes() for name in TABLES}
    assert b"truncated audio" in tables["report.tsv"] and not (folder / ".dump.owner").exists()
    assert "done already" in make("").stderr  # how it ran does not count

    (folder / "dump" / "wav.scp").unlink()
    assert make("").returncode == 0
    assert tables == {name: (folder / "dump" / name).read_bytes() for name in TABLES}
