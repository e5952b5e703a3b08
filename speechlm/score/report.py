"""RESULTS.md: what was measured, and everything needed to measure it again."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechlm.score.error_rate import ErrorCounts
from speechlm.score.markdown import code, markdown_table
from speechlm.score.sentences import read_counts

COLUMNS = ("Snt", "Wrd", "Corr", "Sub", "Del", "Ins", "Err", "S.Err")
PACKAGES = ("speechlm", "torch", "espnet", "numpy", "kaldi-decoder", "kaldialign")
KINDS = ("WER", "CER")


def read_scores(folder: str | os.PathLike[str]) -> dict[str, ErrorCounts]:
    """WER and CER counts of a folder that `score` wrote.

    Raises:
        ValueError: they are not there, or damaged.
    """
    return {kind: read_counts(folder, kind, ErrorCounts) for kind in KINDS}


def error_table(rows: Mapping[str, ErrorCounts]) -> str:
    """A Markdown table in ESPnet's columns; the names of the rows come first."""
    found = [
        (name, *(f"{v:.1f}" if isinstance(v, float) else str(v) for v in counts.row()))
        for name, counts in rows.items()
    ]
    return markdown_table(("dataset", *COLUMNS), found)


def environment(root: str | os.PathLike[str]) -> list[str]:
    """Lines on versions, commit (of the tree at `root`) and hardware."""
    versions = ", ".join(f"{name} {_version(name)}" for name in ("python", *PACKAGES))
    return [
        f"- date: `{datetime.datetime.now().astimezone():%a %b %d %H:%M:%S %Z %Y}`, "
        "when this report was written",
        f"- versions: {versions}",
        f"- commit: `{_commit(root)}`, of the report; steps done before may be of another",
        f"- hardware: {_hardware()}",
    ]


def results(
    title: str,
    command: str,
    seed: int,
    environment_lines: Sequence[str],
    sections: Mapping[str, str],
) -> str:
    """The text of RESULTS.md: the circumstances, then each section's heading and text."""
    head = [f"# {title}", "", "## Environments", "", *environment_lines]
    head += [f"- command: {code(command)}", f"- seed: {seed}", ""]
    body = [
        line for name, text in sections.items() for line in (f"## {name}", "", text.rstrip(), "")
    ]
    return "\n".join(head + body)


def _version(name: str) -> str:
    if name == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if name == "speechlm":
            from speechlm import __version__

            return __version__
        return "not installed"


def _commit(root: str | os.PathLike[str]) -> str:
    """Short hash of the tree at root, marked if tracked files were changed since.

    A repository further up is somebody else's, in which the package is only installed.
    """
    if not (Path(root) / ".git").exists():
        return "unknown (not a git checkout)"
    command = ["git", "-C", os.fspath(root), "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else "unknown (not a git checkout)"


def _hardware() -> str:
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        names = [name.strip() for name in done.stdout.split("\n") if name.strip()]
    except (OSError, subprocess.SubprocessError):  # none, or a driver that hangs
        names = []
    return f"{os.cpu_count()} x {cpu}; GPU: {', '.join(names) or 'none'}"
